#pragma once

#include <cstdint>

#include "notellm/kernels/table.h"

/// Hand-written CUDA loops on raw pointers of the current device, put on torch's current stream.
/// They allocate nothing and do not wait. The composed LibTorch operations are their reference.
namespace notellm::kernels {

/// The rows of a batch are divided into this many parts whose weight gradients are summed apart, so
/// that the order of summation is always the same.
inline constexpr int64_t kCudaParts = 64;

/// Heads of some tokens, (tokens, heads, head_dim) with a stride between tokens.
template <typename Scalar>
struct HeadRows {
  const Scalar* numbers;
  int64_t tokens, heads, head_dim, stride;
};

/// The loops for one scalar type; see `Table` for what each computes.
template <typename Scalar>
struct CudaLoops {
  using Acc = Accumulator<Scalar>;

  void (*rms_norm)(const Acc* x,
                   const Acc* weight,
                   double epsilon,
                   int64_t rows,
                   int64_t width,
                   Scalar* y,
                   Acc* inverse_rms);
  /// `weight_gradient` (kCudaParts, width) is written, or null.
  void (*rms_norm_backward)(const Scalar* y_gradient,
                            const Acc* x,
                            const Acc* weight,
                            const Acc* inverse_rms,
                            int64_t rows,
                            int64_t width,
                            Acc* x_gradient,
                            Acc* weight_gradient);
  void (*swiglu)(const Scalar* gate_up, int64_t rows, int64_t width, Scalar* out);
  void (*swiglu_backward)(const Scalar* out_gradient,
                          const Scalar* gate_up,
                          int64_t rows,
                          int64_t width,
                          Scalar* gate_up_gradient);
  void (*add)(const Acc* residual, const Scalar* branch, int64_t n, Acc* sum);
  /// out = x cos + rotate_half(x) sin for every head; with `direction` -1 the gradient of that.
  void (*rotate)(
      const HeadRows<Scalar>& x, const Scalar* cos, const Scalar* sin, int direction, Scalar* out);
};

/// Rows that a tile of scores may have: more than that a grid of CUDA cannot number.
inline constexpr int64_t kMostTileRows = 65'535;

/// A tile of scores (rows, width), and what its rows are compared with.
template <typename Scalar>
struct ScoreTile {
  const Scalar* scores;
  int64_t rows, width;
  const Scalar* low;    ///< (rows) scores below are smaller than the target's
  const Scalar* high;   ///< (rows) scores above are greater
  int64_t* greater;     ///< (rows) to which the number of greater ones is added
  int32_t* open;        ///< (capacity, 2) row and column of what is neither, in any order
  int64_t* open_count;  ///< to which the number of open ones is added; it may exceed the capacity
  int64_t capacity;
};

/// All CUDA loops.
struct CudaTables {
  CudaLoops<float> f32;
  CudaLoops<double> f64;
  CudaLoops<Bf16> bf16;
  void (*count_f32)(const ScoreTile<float>& tile);
  void (*count_f64)(const ScoreTile<double>& tile);

  template <typename Scalar>
  const CudaLoops<Scalar>& of() const;
};
template <>
inline const CudaLoops<float>& CudaTables::of<float>() const {
  return f32;
}
template <>
inline const CudaLoops<double>& CudaTables::of<double>() const {
  return f64;
}
template <>
inline const CudaLoops<Bf16>& CudaTables::of<Bf16>() const {
  return bf16;
}

/// The loops, or null where the library was built without them (NOTELLM_CUDA).
const CudaTables* cuda_tables();

}  // namespace notellm::kernels
