#include "notellm/ops/projection.h"

#include "tensors.h"

#include <utility>
#include <vector>

#include "autograd/differentiable.h"
#include "notellm/ops/dtypes.h"
#include "notellm/ops/matmul.h"
#include "notellm/ops/rms_norm.h"
#include "notellm/util/check.h"
#include "on_kernels.h"
#include "residual.h"
#include "swiglu.h"
#include "tensor_checks.h"

namespace notellm {
namespace {

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
      return internal::swiglu_forward(input.source);
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
  return {residual.defined() ? internal::add_branch(residual, branch) : branch,
          {input.source, input.norm_weight, weights.matrix, low_rank.down, low_rank.up, inverse_rms,
           low_rank.dropout.keys}};
}

// What flows back through down and up; undefined where it is not wanted.
struct LowRankGradient {
  at::Tensor down, up;
  at::Tensor h;  // (T, n): to be added to the gradient of h
};
struct LowRankWants {
  bool down, up, h;
};

// `gradient` comes from `for_products`.
LowRankGradient low_rank_backward(const LowRank& low_rank,
                                  at::ScalarType compute,
                                  const at::Tensor& gradient,
                                  const at::Tensor& h,
                                  const LowRankWants& wants) {
  LowRankGradient result;
  at::Tensor inner;  // (T, R): the gradient of up's input
  if (wants.down || wants.h) inner = matmul_transposed(gradient, low_rank.up.t(), {}, compute);
  if (wants.down || wants.up) {
    const at::Tensor went_down = for_products(dropped(h, low_rank.dropout), compute);
    if (wants.down) result.down = weight_gradient(inner, went_down, low_rank.down.scalar_type());
    if (wants.up) {
      const at::Tensor before_up = matmul_transposed(went_down, low_rank.down, {}, compute);
      result.up = weight_gradient(gradient, before_up, low_rank.up.scalar_type());
    }
  }
  if (wants.h) result.h = dropped(matmul_transposed(inner, low_rank.down.t()), low_rank.dropout);
  return result;
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
    // merged, what flows through them is part of what flows through the matrix
    const LowRankWants wants{needs[kDown], needs[kUp], wants_source && !recipe.is_merged};
    const LowRankGradient by = low_rank_backward(low_rank, compute, gradient, h, wants);
    result[kDown] = by.down, result[kUp] = by.up;
    if (by.h.defined()) h_gradient.add_(by.h);
  }
  if (!wants_source) return result;
  if (input.prologue == Prologue::kRmsNorm) {
    auto both = internal::rms_norm_backward(h_gradient, source, input.norm_weight,
                                            saved[kInverseRms], needs[kNormWeight]);
    result[kSource] = both.x;
    result[kNormWeight] = both.weight;
  } else {
    result[kSource] = input.prologue == Prologue::kSwiglu
                          ? internal::swiglu_backward(h_gradient, source)
                          : h_gradient;
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
    if (low_rank.dropout.is_active()) h = internal::composed_drop(h, low_rank.dropout);
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
