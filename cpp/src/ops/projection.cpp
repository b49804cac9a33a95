#include "notellm/ops/projection.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

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

struct Projection : torch::autograd::Function<Projection> {
  static at::Tensor forward(AutogradContext* context,
                            const at::Tensor& source,
                            const at::Tensor& norm_weight,
                            const at::Tensor& matrix,
                            const at::Tensor& bias,
                            const at::Tensor& residual,
                            Prologue prologue,
                            double epsilon) {
    at::Tensor inverse_rms;
    const ProjectionInput input{prologue, source.contiguous(), norm_weight, epsilon};
    const at::Tensor h = prepared(input, matrix.scalar_type(), inverse_rms);
    const at::Tensor branch = matmul_transposed(h, matrix, internal::or_undefined(bias));
    context->save_for_backward({input.source, norm_weight, inverse_rms, matrix});
    context->saved_data["prologue"] = static_cast<int64_t>(prologue);
    context->saved_data["epsilon"] = epsilon;
    return internal::is_given(residual) ? add_branch(residual, branch) : branch;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    internal::refuse_double_backward("project");
    const auto saved = context->get_saved_variables();
    const at::Tensor &source = saved[0], &norm_weight = saved[1], &matrix = saved[3];
    const ProjectionInput input{static_cast<Prologue>(context->saved_data["prologue"].toInt()),
                                source, norm_weight, context->saved_data["epsilon"].toDouble()};
    const at::Tensor gradient = gradients[0].to(matrix.scalar_type()).contiguous();  // (T, out)
    variable_list result(7);
    if (context->needs_input_grad(2)) {
      at::Tensor inverse_rms;
      result[2] = weight_gradient(gradient, prepared(input, matrix.scalar_type(), inverse_rms));
    }
    if (context->needs_input_grad(3)) result[3] = gradient.sum(0);
    if (context->needs_input_grad(4)) result[4] = gradients[0];
    if (context->needs_input_grad(0) || context->needs_input_grad(1)) {
      const at::Tensor h_gradient = matmul_transposed(gradient, matrix.t());  // (T, n)
      if (input.prologue == Prologue::kRmsNorm) {
        auto both = internal::rms_norm_backward(h_gradient, source, norm_weight, saved[2],
                                                context->needs_input_grad(1));
        result[0] = both.x;
        result[1] = both.weight;
      } else {
        result[0] =
            input.prologue == Prologue::kSwiglu ? swiglu_backward(h_gradient, source) : h_gradient;
      }
    }
    return result;
  }

 private:
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
  const at::Tensor branch = at::linear(
      h, weights.matrix, weights.bias.defined() ? std::optional(weights.bias) : std::nullopt);
  return residual.defined() ? residual + branch : branch;
}

}  // namespace

at::Tensor project(const ProjectionInput& input,
                   const ProjectionWeights& weights,
                   const at::Tensor& residual) {
  if (!internal::runs_on_kernels(input.source))
    return composed_projection(input, weights, residual);
  using internal::or_empty;
  return Projection::apply(input.source, or_empty(input.norm_weight), weights.matrix,
                           or_empty(weights.bias), or_empty(residual), input.prologue,
                           input.epsilon);
}

}  // namespace notellm
