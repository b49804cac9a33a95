#include "notellm/ops/projection.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <bit>

#include "notellm/ops/matmul.h"
#include "notellm/ops/rms_norm.h"
#include "on_kernels.h"
#include "once_differentiable.h"

namespace notellm {
namespace {

using internal::data;
using internal::mutable_data;
using internal::with_scalar;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Calls `body(table, first row, rows)` for rows of a (T, 2 n) gate_up.
template <typename Body>
void for_swiglu_rows(const at::Tensor& gate_up, const Body& body) {
  const int64_t width = gate_up.size(1) / 2;
  with_scalar(gate_up.scalar_type(), [&](auto scalar) {
    using Scalar = decltype(scalar);
    const auto& table = kernels::tables().of<Scalar>();
    at::parallel_for(
        0, gate_up.size(0), internal::rows_at_once(width),
        [&](int64_t begin, int64_t end) { body(table, Scalar{}, width, begin, end - begin); });
  });
}

at::Tensor swiglu_forward(const at::Tensor& gate_up) {
  RECORD_FUNCTION("notellm::swiglu", {});
  at::Tensor out = at::empty({gate_up.size(0), gate_up.size(1) / 2}, gate_up.options());
  for_swiglu_rows(gate_up,
                  [&](const auto& table, auto scalar, int64_t width, int64_t row, int64_t rows) {
                    using Scalar = decltype(scalar);
                    table.swiglu(data<Scalar>(gate_up) + row * 2 * width, rows, width,
                                 mutable_data<Scalar>(out) + row * width);
                  });
  return out;
}

at::Tensor swiglu_backward(const at::Tensor& out_gradient, const at::Tensor& gate_up) {
  RECORD_FUNCTION("notellm::swiglu_backward", {});
  at::Tensor gradient = at::empty_like(gate_up);
  for_swiglu_rows(gate_up,
                  [&](const auto& table, auto scalar, int64_t width, int64_t row, int64_t rows) {
                    using Scalar = decltype(scalar);
                    table.swiglu_backward(data<Scalar>(out_gradient) + row * width,
                                          data<Scalar>(gate_up) + row * 2 * width, rows, width,
                                          mutable_data<Scalar>(gradient) + row * 2 * width);
                  });
  return gradient;
}

// residual + branch in the residual's dtype.
at::Tensor add_branch(const at::Tensor& residual, const at::Tensor& branch) {
  RECORD_FUNCTION("notellm::add", {});
  const at::Tensor stream = residual.contiguous();
  at::Tensor sum = at::empty_like(stream);
  with_scalar(branch.scalar_type(), [&](auto scalar) {
    using Scalar = decltype(scalar);
    using Acc = kernels::Accumulator<Scalar>;
    const auto& table = kernels::tables().of<Scalar>();
    at::parallel_for(0, sum.numel(), 16384, [&](int64_t begin, int64_t end) {
      table.add(data<Acc>(stream) + begin, data<Scalar>(branch) + begin, end - begin,
                mutable_data<Acc>(sum) + begin);
    });
  });
  return sum;
}

// gradient^T h: (out, n).
at::Tensor weight_gradient(const at::Tensor& gradient, const at::Tensor& h) {
  if (h.scalar_type() == at::kFloat) return matmul_transposed(gradient.t(), h.t());
  return at::mm(gradient.t(), h);
}

// What a projection is beside its tensors.
struct Recipe {
  Prologue prologue;
  double epsilon;
  bool is_merged;  // the matrix holds up down
  Dropout dropout;
};

struct Projection : torch::autograd::Function<Projection> {
  enum Input { kSource, kNormWeight, kMatrix, kBias, kResidual, kDown, kUp, kRecipe, kCount };

  static at::Tensor forward(AutogradContext* context,
                            const at::Tensor& source,
                            const at::Tensor& norm_weight,
                            const at::Tensor& matrix,
                            const at::Tensor& bias,
                            const at::Tensor& residual,
                            const at::Tensor& down,
                            const at::Tensor& up,
                            const Recipe& recipe) {
    at::Tensor inverse_rms;
    const ProjectionInput input{recipe.prologue, source.contiguous(), norm_weight, recipe.epsilon};
    const at::Tensor h = prepared(input, matrix.scalar_type(), inverse_rms);
    at::Tensor branch = matmul_transposed(h, matrix, internal::or_undefined(bias));
    if (internal::is_given(down) && !recipe.is_merged) {
      branch.add_(matmul_transposed(matmul_transposed(dropped(h, recipe.dropout), down), up));
    }
    context->save_for_backward(
        {input.source, norm_weight, inverse_rms, matrix, down, up, recipe.dropout.keys});
    context->saved_data["prologue"] = static_cast<int64_t>(recipe.prologue);
    context->saved_data["epsilon"] = recipe.epsilon;
    context->saved_data["is_merged"] = recipe.is_merged;
    context->saved_data["share"] = recipe.dropout.share;
    context->saved_data["seed"] = std::bit_cast<int64_t>(recipe.dropout.seed);
    context->saved_data["site"] = recipe.dropout.site;
    return internal::is_given(residual) ? add_branch(residual, branch) : branch;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    internal::refuse_double_backward("project");
    const auto needs = [&](Input input) { return context->needs_input_grad(input); };
    const auto saved = context->get_saved_variables();
    const at::Tensor &source = saved[0], &norm_weight = saved[1], &matrix = saved[3];
    const Recipe recipe = recipe_of(*context, saved[6]);
    const ProjectionInput input{recipe.prologue, source, norm_weight, recipe.epsilon};
    const at::Tensor gradient = gradients[0].to(matrix.scalar_type()).contiguous();  // (T, out)
    variable_list result(kCount);
    if (needs(kBias)) result[kBias] = gradient.sum(0);
    if (needs(kResidual)) result[kResidual] = gradients[0];

    at::Tensor h, inverse_rms;
    if (needs(kMatrix) || needs(kDown) || needs(kUp))
      h = prepared(input, matrix.scalar_type(), inverse_rms);
    if (needs(kMatrix)) result[kMatrix] = weight_gradient(gradient, h);
    const bool wants_source = needs(kSource) || needs(kNormWeight);
    at::Tensor h_gradient;  // (T, n)
    if (wants_source) h_gradient = matmul_transposed(gradient, matrix.t());
    if (internal::is_given(saved[4])) {
      const LowRank low_rank{saved[4], saved[5], recipe.dropout, recipe.is_merged};
      go_back(low_rank, gradient, h, needs(kDown), needs(kUp), h_gradient, result);
    }
    if (!wants_source) return result;
    if (input.prologue == Prologue::kRmsNorm) {
      auto both = internal::rms_norm_backward(h_gradient, source, norm_weight, saved[2],
                                              needs(kNormWeight));
      result[kSource] = both.x;
      result[kNormWeight] = both.weight;
    } else {
      result[kSource] =
          input.prologue == Prologue::kSwiglu ? swiglu_backward(h_gradient, source) : h_gradient;
    }
    return result;
  }

 private:
  // The gradients of down and up, and what goes back through them to h if it is not in the matrix.
  static void go_back(const LowRank& low_rank,
                      const at::Tensor& gradient,
                      const at::Tensor& h,
                      bool wants_down,
                      bool wants_up,
                      at::Tensor& h_gradient,
                      variable_list& result) {
    const bool adds_to_h = h_gradient.defined() && !low_rank.is_merged;
    at::Tensor inner;  // (T, R): the gradient of what goes up
    if (wants_down || adds_to_h) inner = matmul_transposed(gradient, low_rank.up.t());
    if (adds_to_h)
      h_gradient.add_(dropped(matmul_transposed(inner, low_rank.down.t()), low_rank.dropout));
    if (!wants_down && !wants_up) return;
    const at::Tensor went_down = dropped(h, low_rank.dropout);
    if (wants_down) result[kDown] = weight_gradient(inner, went_down);
    if (wants_up)
      result[kUp] = weight_gradient(gradient, matmul_transposed(went_down, low_rank.down));
  }

  static at::Tensor dropped(const at::Tensor& x, const Dropout& dropout) {
    return dropout.is_active() ? drop(x, dropout) : x;
  }

  static Recipe recipe_of(AutogradContext& context, const at::Tensor& keys) {
    auto& kept = context.saved_data;
    const Dropout dropout{kept["share"].toDouble(), std::bit_cast<uint64_t>(kept["seed"].toInt()),
                          kept["site"].toInt(), keys};
    return {static_cast<Prologue>(kept["prologue"].toInt()), kept["epsilon"].toDouble(),
            kept["is_merged"].toBool(), dropout};
  }

  static at::Tensor prepared(const ProjectionInput& input,
                             at::ScalarType dtype,
                             at::Tensor& inverse_rms) {
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
};

// The same of LibTorch's own operations: on a GPU, and as the definition that tests compare with.
at::Tensor composed_projection(const ProjectionInput& input,
                               const ProjectionWeights& weights,
                               const at::Tensor& residual) {
  const at::ScalarType dtype = weights.matrix.scalar_type();
  at::Tensor h = input.source;
  if (input.prologue == Prologue::kRmsNorm) {
    h = rms_norm(h, input.norm_weight, input.epsilon, dtype);
  } else if (input.prologue == Prologue::kSwiglu) {
    const auto halves = h.chunk(2, 1);
    h = at::silu(halves[0]) * halves[1];
  }
  at::Tensor branch = at::linear(
      h, weights.matrix, weights.bias.defined() ? std::optional(weights.bias) : std::nullopt);
  const LowRank& low_rank = weights.low_rank;
  if (low_rank.down.defined()) {
    NOTELLM_CHECK_ARG(!low_rank.is_merged, "adapters must be apart here, but are merged");
    if (low_rank.dropout.is_active()) h = h * drop(at::ones_like(h), low_rank.dropout);
    branch = branch + at::linear(at::linear(h, low_rank.down), low_rank.up);
  }
  return residual.defined() ? residual + branch : branch;
}

}  // namespace

at::Tensor project(const ProjectionInput& input,
                   const ProjectionWeights& weights,
                   const at::Tensor& residual) {
  if (!internal::runs_on_kernels(input.source))
    return composed_projection(input, weights, residual);
  using internal::or_empty;
  const LowRank& low_rank = weights.low_rank;
  return Projection::apply(
      input.source, or_empty(input.norm_weight), weights.matrix, or_empty(weights.bias),
      or_empty(residual), or_empty(low_rank.down), or_empty(low_rank.up),
      Recipe{input.prologue, input.epsilon, low_rank.is_merged, low_rank.dropout});
}

}  // namespace notellm
