#include "differentiable.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "notellm/util/check.h"

namespace notellm::internal {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct HeldBackward : torch::CustomClassHolder {
  explicit HeldBackward(BackwardFn held) : run(std::move(held)) {}
  BackwardFn run;
};
using Holder = c10::intrusive_ptr<HeldBackward>;

struct HandWritten : torch::autograd::Function<HandWritten> {
  static at::Tensor forward(AutogradContext* context,
                            const at::TensorList& inputs,
                            const std::function<Forward()>& run,
                            const Holder& backward) {
    Forward result = run();
    context->save_for_backward(std::move(result.saved));
    context->saved_data["backward"] = c10::IValue::make_capsule(backward);
    context->saved_data["inputs"] = static_cast<int64_t>(inputs.size());
    return result.value;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    Backward given{gradients[0], context->get_saved_variables(), {}};
    const auto inputs = static_cast<size_t>(context->saved_data["inputs"].toInt());
    for (size_t i = 0; i < inputs; ++i) given.needs.push_back(context->needs_input_grad(i));
    const auto holder = context->saved_data["backward"].toCapsule();
    variable_list by_input = static_cast<const HeldBackward&>(*holder).run(given);
    by_input.resize(inputs + 2);  // one per argument of `forward`; each input is one
    return by_input;
  }
};

}  // namespace

at::Tensor differentiable(const std::vector<at::Tensor>& inputs,
                          const std::function<Forward()>& forward,
                          BackwardFn backward) {
  variable_list given = inputs;  // autograd takes no undefined inputs: it counts inputs by position
  for (at::Tensor& input : given) {
    if (!input.defined()) input = at::empty({0});
  }
  return HandWritten::apply(at::TensorList(given), forward,
                            c10::make_intrusive<HeldBackward>(std::move(backward)));
}

void refuse_double_backward(const char* where) {
  if (!at::GradMode::is_enabled()) return;
  throw_error<NotSupportedError>(
      where,
      "the backward pass must run without create_graph, but it is asked for; try "
      "notellm.set_instruction_set(\"none\") for second derivatives");
}

std::vector<at::Tensor> composed_gradients(const std::function<at::Tensor()>& composed,
                                           const std::vector<at::Tensor>& inputs,
                                           const at::Tensor& gradient) {
  std::vector<at::Tensor> needed;
  for (const at::Tensor& input : inputs) {
    if (input.requires_grad()) needed.push_back(input);
  }
  const auto found = torch::autograd::grad({composed()}, needed, {gradient}, /*retain_graph=*/true,
                                           /*create_graph=*/true);
  std::vector<at::Tensor> gradients(inputs.size());
  size_t next = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].requires_grad()) gradients[i] = found[next++];
  }
  return gradients;
}

}  // namespace notellm::internal
