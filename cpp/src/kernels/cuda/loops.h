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

/// A tile of scores (rows, width) in units of log2, and the running maximum m and sum of exp2(score
/// - m) of every row, or of every column. Scores of -inf are left out; a NaN makes the sum NaN.
template <typename Scalar>
struct LogSumTile {
  const Scalar* scores;
  int64_t rows, width;
  Scalar* maxima;
  Scalar* sums;
};

/// The loops over tiles of scores, each in one pass over the tile.
template <typename Scalar>
struct CudaTileLoops {
  void (*count)(const ScoreTile<Scalar>& tile);
  void (*absorb_rows)(const LogSumTile<Scalar>& tile);
  void (*absorb_columns)(const LogSumTile<Scalar>& tile);
  /// out = exp2(scores - log_sums), with a log-sum for every row, or for every column; `out` may be
  /// `scores`.
  void (*softmax)(const Scalar* scores,
                  const Scalar* log_sums,
                  bool is_by_row,
                  int64_t rows,
                  int64_t width,
                  Scalar* out);
};

/// All CUDA loops.
struct CudaTables {
  CudaLoops<float> f32;
  CudaLoops<double> f64;
  CudaLoops<Bf16> bf16;
  CudaTileLoops<float> tiles_f32;
  CudaTileLoops<double> tiles_f64;

  template <typename Scalar>
  const CudaLoops<Scalar>& of() const;
  template <typename Scalar>
  const CudaTileLoops<Scalar>& tiles_of() const;
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

template <>
inline const CudaTileLoops<float>& CudaTables::tiles_of<float>() const {
  return tiles_f32;
}
template <>
inline const CudaTileLoops<double>& CudaTables::tiles_of<double>() const {
  return tiles_f64;
}

/// The loops, or null where the library was built without them (NOTELLM_CUDA).
const CudaTables* cuda_tables();

}  // namespace notellm::kernels
