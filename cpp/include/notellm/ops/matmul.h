#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace notellm {

/// Whether this processor has bf16 multiplication (AVX-512 bf16, AMX) and may use it: neither the
/// instruction set in use (`instruction_set.h`) nor the environment variable ONEDNN_MAX_CPU_ISA
/// forbids it. Without it, LibTorch's own bf16 products are scalar loops, a hundred times slower
/// than fp32.
bool multiplies_bf16();

/// A factor in the form in which matrix products in `compute` are fastest: cast to that dtype; but
/// for bf16, on a processor that does not multiply bf16, rounded to bf16 and stored in fp32.
/// Differentiable. The products below also take plain bf16 tensors, and then widen them each time.
at::Tensor for_products(const at::Tensor& factor, at::ScalarType compute);

/// x W^T, without a graph, by the fastest matrix product of the libraries at hand.
///
/// In fp32 on the CPU, on processors that are not Intel's, this is oneDNN's product wherever it is
/// faster than at::linear's, which is MKL's: always with AVX-512 (which MKL does not use there),
/// and with AVX2 for wide weights. Everywhere else it is at::linear. In bf16, on a processor that
/// does not multiply bf16, it is the fp32 product rounded to bf16.
///
/// @param x        (T, in). @param weight  (out, in). Both in the compute dtype or as
///                 `for_products` returns them; may be transposed views.
/// @param bias     (out) in the compute dtype, or undefined.
/// @param compute  by default the dtype of x.
/// @return         (T, out) in the compute dtype.
at::Tensor matmul_transposed(const at::Tensor& x,
                             const at::Tensor& weight,
                             const at::Tensor& bias = {},
                             std::optional<at::ScalarType> maybe_compute = {});

/// The same numbers, x W^T rounded to `compute`, but stored in fp32 (fp64 for fp64). The result is
/// a new tensor, which the caller may change in place.
at::Tensor wide_product(const at::Tensor& x, const at::Tensor& weight, at::ScalarType compute);

/// a^T b, without a graph: the gradient of a weight, from the gradient of its product, `a`
/// (T, out), and the product's input, `b` (T, in). Uses at::mm, which for sums over many rows is up
/// to twice as fast as oneDNN's product.
///
/// @param a, b   in the compute dtype, or as `for_products` returns them. @param dtype  of the
///               result.
/// @return       (out, in).
at::Tensor weight_gradient(const at::Tensor& a, const at::Tensor& b, at::ScalarType dtype);

/// The number of rows after padding: at most 1/32 more than `rows` (or 7 more), so that matrix
/// products have few different shapes. oneDNN compiles code for every new shape (some 8 ms) and
/// keeps it.
int64_t whole_rows(int64_t rows);

}  // namespace notellm
