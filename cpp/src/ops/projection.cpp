#include "notellm/ops/projection.h"

#include "tensors.h"

#include <utility>
#include <vector>

#include "autograd/differentiable.h"
#include "autograd/recorded_step.h"
#include "notellm/ops/dtypes.h"
#include "notellm/ops/matmul.h"
#include "notellm/ops/rms_norm.h"
#include "notellm/util/check.h"
#include "on_kernels.h"
#include "tensor_checks.h"

namespace notellm {
namespace {

using internal::data;
using internal::mutable_data;
using internal::RecordedStep;
using internal::with_scalar;

// Calls `body(loops, scalar, first row, rows)` for blocks of rows of a (T, 2 n) gate_up, or for all
// at once on a GPU.
template <typename Body>
void for_swiglu_rows(const at::Tensor& gate_up, const Body& body) {
  with_scalar(gate_up.scalar_type(), [&](auto scalar) {
    using Scalar = decltype(scalar);
    if (gate_up.is_cuda()) {
      internal::on_cuda<Scalar>(
          gate_up.device(), [&](const auto& loops) { body(loops, scalar, 0, gate_up.size(0)); });
      return;
    }
    const auto& table = kernels::tables().of<Scalar>();
    at::parallel_for(0, gate_up.size(0), internal::rows_at_once(gate_up.size(1) / 2),
                     [&](int64_t begin, int64_t end) { body(table, scalar, begin, end - begin); });
  });
}

at::Tensor swiglu_forward(const at::Tensor& gate_up) {
  const RecordedStep record("notellm::swiglu");
  const int64_t width = gate_up.size(1) / 2;
  const at::Device device = gate_up.device();
  at::Tensor out = at::empty({gate_up.size(0), width}, gate_up.options());
  for_swiglu_rows(gate_up, [&](const auto& loops, auto scalar, int64_t row, int64_t rows) {
    using Scalar = decltype(scalar);
    loops.swiglu(data<Scalar>(gate_up, device) + row * 2 * width, rows, width,
                 mutable_data<Scalar>(out, device) + row * width);
  });
  return out;
}

at::Tensor swiglu_backward(const at::Tensor& out_gradient, const at::Tensor& gate_up) {
  const RecordedStep record("notellm::swiglu_backward");
  const int64_t width = gate_up.size(1) / 2;
  const at::Device device = gate_up.device();
  at::Tensor gradient = at::empty_like(gate_up);
  for_swiglu_rows(gate_up, [&](const auto& loops, auto scalar, int64_t row, int64_t rows) {
    using Scalar = decltype(scalar);
    loops.swiglu_backward(data<Scalar>(out_gradient, device) + row * width,
                          data<Scalar>(gate_up, device) + row * 2 * width, rows, width,
                          mutable_data<Scalar>(gradient, device) + row * 2 * width);
  });
  return gradient;
}

// residual + branch in the residual's dtype.
at::Tensor add_branch(const at::Tensor& residual, const at::Tensor& branch) {
  const RecordedStep record("notellm::add");
  const at::Tensor stream = residual.contiguous();
  const at::Device device = stream.device();
  at::Tensor sum = at::empty_like(stream);
  with_scalar(branch.scalar_type(), [&](auto scalar) {
    using Scalar = decltype(scalar);
    using Acc = kernels::Accumulator<Scalar>;
    const auto* from = data<Acc>(stream, device);
    const auto* other = data<Scalar>(branch, device);
    auto* to = mutable_data<Acc>(sum, device);
    if (stream.is_cuda()) {
      internal::on_cuda<Scalar>(
          device, [&](const auto& loops) { loops.add(from, other, sum.numel(), to); });
      return;
    }
    const auto& table = kernels::tables().of<Scalar>();
    at::parallel_for(0, sum.numel(), 16384, [&](int64_t begin, int64_t end) {
      table.add(from + begin, other + begin, end - begin, to + begin);
    });
  });
  return sum;
}

// The arguments of a projection that are not tensors.
struct Recipe {
  Prologue prologue;
  double epsilon;
  at::ScalarType compute;
  bool is_merged;            // the matrix includes up down
  Dropout dropout_of_input;  // its keys are saved as a tensor
};

at::Tensor prepared(const ProjectionInput& input, at::ScalarType dtype, at::Tensor& inverse_rms) {
  switch (input.prologue) {
    case Prologue::kRmsNorm:
      return internal::rms_norm_forward(input.source, input.norm_weight, input.epsilon, dtype,
                                        inverse_rms);
    case Prologue::kSwiglu:
      return swiglu_forward(input.source);
    case Prologue::kNone:
      break;
  }
  return input.source;
}

at::Tensor dropped(const at::Tensor& x, const Dropout& dropout) {
  return dropout.is_active() ? drop(x, dropout) : x;
}

// Indices of the inputs, which are saved, and of what else is saved in their places.
enum Place { kSource, kNormWeight, kMatrix, kDown, kUp, kBias, kResidual };
constexpr int kInverseRms = kBias, kKeys = kResidual;

internal::Forward forward(const ProjectionInput& given,
                          const ProjectionWeights& weights,
                          const at::Tensor& residual) {
  const LowRank& low_rank = weights.low_rank;
  ProjectionInput input = given;
  input.source = given.source.contiguous();
  at::Tensor inverse_rms;
  const at::Tensor h = prepared(input, weights.compute, inverse_rms);
  at::Tensor branch = matmul_transposed(h, weights.matrix, weights.bias);
  if (low_rank.down.defined() && !low_rank.is_merged) {
    const at::Tensor went_down = matmul_transposed(dropped(h, low_rank.dropout), low_rank.down);
    branch.add_(matmul_transposed(went_down, low_rank.up));
  }
  return {residual.defined() ? add_branch(residual, branch) : branch,
          {input.source, input.norm_weight, weights.matrix, low_rank.down, low_rank.up, inverse_rms,
           low_rank.dropout.keys}};
}

// Computes the gradients of down and up and, if they are not merged into the matrix, adds the
// gradient that flows through them to that of h. `gradient` comes from `for_products`.
void go_back(const LowRank& low_rank,
             at::ScalarType compute,
             const at::Tensor& gradient,
             const at::Tensor& h,
             const std::vector<bool>& needs,
             at::Tensor& h_gradient,
             std::vector<at::Tensor>& result) {
  const bool adds_to_h = h_gradient.defined() && !low_rank.is_merged;
  at::Tensor inner;  // (T, R): the gradient of up's input
  if (needs[kDown] || adds_to_h) inner = matmul_transposed(gradient, low_rank.up.t(), {}, compute);
  if (adds_to_h)
    h_gradient.add_(dropped(matmul_transposed(inner, low_rank.down.t()), low_rank.dropout));
  if (!needs[kDown] && !needs[kUp]) return;
  const at::Tensor went_down = for_products(dropped(h, low_rank.dropout), compute);
  if (needs[kDown]) result[kDown] = weight_gradient(inner, went_down, low_rank.down.scalar_type());
  if (needs[kUp]) {
    const at::Tensor before_up = matmul_transposed(went_down, low_rank.down, {}, compute);
    result[kUp] = weight_gradient(gradient, before_up, low_rank.up.scalar_type());
  }
}

std::vector<at::Tensor> backward(const internal::Backward& given, const Recipe& recipe) {
  internal::refuse_double_backward("project");
  const auto& [out_gradient, saved, needs] = given;
  const at::Tensor &source = saved[kSource], &matrix = saved[kMatrix];
  const ProjectionInput input{recipe.prologue, source, saved[kNormWeight], recipe.epsilon};
  const at::ScalarType compute = recipe.compute;
  const at::Tensor gradient = for_products(out_gradient, compute).contiguous();  // (T, out)
  std::vector<at::Tensor> result(needs.size());
  if (needs[kBias]) result[kBias] = gradient.sum(0).to(compute);
  if (needs[kResidual]) result[kResidual] = out_gradient;

  at::Tensor h, inverse_rms;
  if (needs[kMatrix] || needs[kDown] || needs[kUp]) h = prepared(input, compute, inverse_rms);
  if (needs[kMatrix]) result[kMatrix] = weight_gradient(gradient, h, matrix.scalar_type());
  const bool wants_source = needs[kSource] || needs[kNormWeight];
  at::Tensor h_gradient;  // (T, n)
  if (wants_source) h_gradient = matmul_transposed(gradient, matrix.t(), {}, compute);
  if (saved[kDown].defined()) {
    LowRank low_rank{saved[kDown], saved[kUp], recipe.dropout_of_input, recipe.is_merged};
    low_rank.dropout.keys = saved[kKeys];
    go_back(low_rank, compute, gradient, h, needs, h_gradient, result);
  }
  if (!wants_source) return result;
  if (input.prologue == Prologue::kRmsNorm) {
    auto both = internal::rms_norm_backward(h_gradient, source, input.norm_weight,
                                            saved[kInverseRms], needs[kNormWeight]);
    result[kSource] = both.x;
    result[kNormWeight] = both.weight;
  } else {
    result[kSource] =
        input.prologue == Prologue::kSwiglu ? swiglu_backward(h_gradient, source) : h_gradient;
  }
  return result;
}

// The same by LibTorch's own operations: used where there are no loops for the device, and as the
// definition that tests compare with.
at::Tensor composed_projection(const ProjectionInput& input,
                               const ProjectionWeights& weights,
                               const at::Tensor& residual) {
  const at::ScalarType dtype = weights.compute;
  const auto product = [&](const at::Tensor& x, const at::Tensor& matrix, const at::Tensor& bias) {
    const auto wide = matrix.scalar_type();  // `for_products` may have widened it
    const auto maybe_bias = bias.defined() ? std::optional(bias.to(wide)) : std::nullopt;
    return at::linear(x.to(wide), matrix, maybe_bias).to(dtype);
  };
  at::Tensor h = input.source;
  if (input.prologue == Prologue::kRmsNorm) {
    h = rms_norm(h, input.norm_weight, input.epsilon, dtype);
  } else if (input.prologue == Prologue::kSwiglu) {
    const auto halves = h.chunk(2, 1);
    h = at::silu(halves[0]) * halves[1];
  }
  at::Tensor branch = product(h, weights.matrix, weights.bias);
  const LowRank& low_rank = weights.low_rank;
  if (low_rank.down.defined()) {
    internal::require(!low_rank.is_merged, "project",
                      "adapters must be apart here, but are merged");
    if (low_rank.dropout.is_active()) h = h * drop(at::ones_like(h), low_rank.dropout);
    branch = branch + product(product(h, low_rank.down, {}), low_rank.up, {});
  }
  return residual.defined() ? residual + branch : branch;
}

void check(const ProjectionInput& input,
           const ProjectionWeights& weights,
           const at::Tensor& residual) {
  using internal::kAny;
  constexpr const char* where = "project";
  const at::ScalarType compute = weights.compute, wide = wide_dtype(compute);
  internal::check_compute_dtype(where, compute);
  const bool is_normed = input.prologue == Prologue::kRmsNorm;
  const bool is_gated = input.prologue == Prologue::kSwiglu;
  internal::check_tensor(where, "the source", input.source, {kAny, kAny},
                         is_normed ? wide : compute);
  const at::Device device = input.source.device();
  const int64_t rows = input.source.size(0), given = input.source.size(1);
  internal::require(!is_gated || given % 2 == 0, where,
                    "gate and up must be equally wide, but are of ", given, " columns together");
  const int64_t width = is_gated ? given / 2 : given;
  if (is_normed) internal::check_floating(where, "the norm's weight", input.norm_weight, {width});
  internal::check_floating(where, "the matrix", weights.matrix, {kAny, width});
  const int64_t out = weights.matrix.size(0);
  const LowRank& low_rank = weights.low_rank;
  if (weights.bias.defined()) internal::check_floating(where, "the bias", weights.bias, {out});
  if (residual.defined())
    internal::check_tensor(where, "the residual", residual, {rows, out}, wide);
  if (low_rank.down.defined()) {
    internal::check_floating(where, "down", low_rank.down, {kAny, width});
    internal::check_floating(where, "up", low_rank.up, {out, low_rank.down.size(0)});
  }
  for (const at::Tensor* part : {&input.norm_weight, &weights.matrix, &weights.bias, &residual,
                                 &low_rank.down, &low_rank.up}) {
    if (part->defined()) internal::check_device(where, "a weight", *part, device);
  }
}

}  // namespace

at::Tensor project(const ProjectionInput& input,
                   const ProjectionWeights& weights,
                   const at::Tensor& residual) {
  check(input, weights, residual);
  if (!internal::runs_on_row_loops(input.source))
    return composed_projection(input, weights, residual);
  const LowRank& low_rank = weights.low_rank;
  Recipe recipe{input.prologue, input.epsilon, weights.compute, low_rank.is_merged,
                low_rank.dropout};
  recipe.dropout_of_input.keys = at::Tensor();
  return internal::differentiable(
      {input.source, input.norm_weight, weights.matrix, low_rank.down, low_rank.up, weights.bias,
       residual},
      [&] { return forward(input, weights, residual); },
      [recipe](const internal::Backward& given) { return backward(given, recipe); });
}

}  // namespace notellm
