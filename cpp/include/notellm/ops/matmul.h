#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace notellm {

/// Whether this processor multiplies bf16 numbers itself (AVX-512 bf16, AMX), and nothing forbids
/// its products to: neither the instruction set in use (`instruction_set.h`) nor the environment's
/// ONEDNN_MAX_CPU_ISA. Where it does not, LibTorch's own bf16 products are scalar loops, a hundred
/// times slower than fp32.
bool multiplies_bf16();

/// A factor as products of `compute` are fastest with: in that dtype; but where the processor does
/// not multiply bf16, the same numbers, rounded to bf16, kept in fp32. Differentiable. Products
/// take bf16 as it is, too, and widen it each time.
at::Tensor for_products(const at::Tensor& factor, at::ScalarType compute);

/// x W^T, without a graph, by the fastest library product there is.
///
/// In fp32 on the CPU that is oneDNN's where there is AVX-512 that the BLAS behind at::linear (MKL)
/// leaves unused, on processors that are not Intel's; everywhere else at::linear. Of bf16, on a
/// processor that does not multiply it, the fp32 product, rounded to bf16.
///
/// @param x        (T, in). @param weight  (out, in). Either in the compute dtype, or
///                 `for_products` of it, and may be a transposed view.
/// @param bias     (out) in the compute dtype, or undefined.
/// @param compute  that of x where not given.
/// @return         (T, out) in the compute dtype.
at::Tensor matmul_transposed(const at::Tensor& x,
                             const at::Tensor& weight,
                             const at::Tensor& bias = {},
                             std::optional<at::ScalarType> maybe_compute = {});

/// The same numbers, x W^T rounded to `compute`, but kept in fp32 (fp64 for fp64): a tensor that
/// nobody else reads.
at::Tensor wide_product(const at::Tensor& x, const at::Tensor& weight, at::ScalarType compute);

/// a^T b, without a graph: the gradient of a weight, of `a` (T, out) by what it multiplied, `b`
/// (T, in). By at::mm, which for long sums of rows is up to twice as fast as oneDNN's product.
///
/// @param a, b   in the compute dtype, or `for_products` of it. @param dtype  of the result.
/// @return       (out, in).
at::Tensor weight_gradient(const at::Tensor& a, const at::Tensor& b, at::ScalarType dtype);

/// `rows` or at most a 32nd more (or 7): so many that products of batches of all sizes have few
/// different shapes. oneDNN compiles code for every new one (some 8 ms) and keeps it.
int64_t whole_rows(int64_t rows);

}  // namespace notellm
