#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <cmath>

#include "kernels/cuda/device_code.cuh"

namespace notellm::kernels {
namespace {

constexpr int kThreads = 256;

unsigned blocks_for(int64_t n) { return static_cast<unsigned>((n + kThreads - 1) / kThreads); }

cudaStream_t stream() { return c10::cuda::getCurrentCUDAStream().stream(); }

template <typename Scalar, typename Acc = Accumulator<Scalar>>
void rms_norm(const Acc* x,
              const Acc* weight,
              double epsilon,
              int64_t rows,
              int64_t width,
              Scalar* y,
              Acc* inverse_rms) {
  if (rows == 0) return;
  cuda::rms_norm<kThreads><<<static_cast<unsigned>(rows), kThreads, 0, stream()>>>(
      x, weight, epsilon, width, y, inverse_rms);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename Scalar, typename Acc = Accumulator<Scalar>>
void rms_norm_backward(const Scalar* y_gradient,
                       const Acc* x,
                       const Acc* weight,
                       const Acc* inverse_rms,
                       int64_t rows,
                       int64_t width,
                       Acc* x_gradient,
                       Acc* weight_gradient) {
  if (rows > 0) {
    cuda::rms_norm_input_gradient<kThreads><<<static_cast<unsigned>(rows), kThreads, 0, stream()>>>(
        y_gradient, x, weight, inverse_rms, width, x_gradient);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }
  if (!weight_gradient || width == 0) return;
  const dim3 grid(blocks_for(width), static_cast<unsigned>(kCudaParts));
  cuda::rms_norm_weight_gradient<kThreads>
      <<<grid, kThreads, 0, stream()>>>(y_gradient, x, inverse_rms, rows, width, weight_gradient);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename Scalar>
void swiglu(const Scalar* gate_up, int64_t rows, int64_t width, Scalar* out) {
  const int64_t n = rows * width;
  if (n == 0) return;
  cuda::swiglu<kThreads><<<blocks_for(n), kThreads, 0, stream()>>>(gate_up, n, width, out);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename Scalar>
void swiglu_backward(const Scalar* out_gradient,
                     const Scalar* gate_up,
                     int64_t rows,
                     int64_t width,
                     Scalar* gate_up_gradient) {
  const int64_t n = rows * width;
  if (n == 0) return;
  cuda::swiglu_backward<kThreads>
      <<<blocks_for(n), kThreads, 0, stream()>>>(out_gradient, gate_up, n, width, gate_up_gradient);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename Scalar, typename Acc = Accumulator<Scalar>>
void add(const Acc* residual, const Scalar* branch, int64_t n, Acc* sum) {
  if (n == 0) return;
  cuda::add<kThreads><<<blocks_for(n), kThreads, 0, stream()>>>(residual, branch, n, sum);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename Scalar>
void rotate(
    const HeadRows<Scalar>& x, const Scalar* cos, const Scalar* sin, int direction, Scalar* out) {
  const int64_t pairs = x.tokens * x.heads * x.head_dim / 2;
  if (pairs == 0) return;
  cuda::rotate<kThreads><<<blocks_for(pairs), kThreads, 0, stream()>>>(x, cos, sin, direction, out);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

// A thread takes some 16 columns.
template <typename Scalar>
void count(const ScoreTile<Scalar>& tile) {
  if (tile.width == 0 || tile.rows == 0) return;
  const dim3 grid(blocks_for((tile.width + 15) / 16), static_cast<unsigned>(tile.rows));
  cuda::count_scores<kThreads><<<grid, kThreads, 0, stream()>>>(tile);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename Scalar>
void absorb_rows(const LogSumTile<Scalar>& tile) {
  if (tile.width == 0 || tile.rows == 0) return;
  cuda::absorb_rows<kThreads><<<static_cast<unsigned>(tile.rows), kThreads, 0, stream()>>>(tile);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename Scalar>
void absorb_columns(const LogSumTile<Scalar>& tile) {
  constexpr int kColumns = 32;  // a warp reads a line of memory
  if (tile.width == 0 || tile.rows == 0) return;
  const auto blocks = static_cast<unsigned>((tile.width + kColumns - 1) / kColumns);
  cuda::absorb_columns<kThreads, kColumns><<<blocks, kThreads, 0, stream()>>>(tile);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename Scalar>
void softmax(const Scalar* scores,
             const Scalar* log_sums,
             bool is_by_row,
             int64_t rows,
             int64_t width,
             Scalar* out) {
  const int64_t n = rows * width;
  if (n == 0) return;
  cuda::tile_softmax<kThreads>
      <<<blocks_for(n), kThreads, 0, stream()>>>(scores, log_sums, is_by_row, n, width, out);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename Scalar>
constexpr CudaTileLoops<Scalar> tile_loops() {
  return {count<Scalar>, absorb_rows<Scalar>, absorb_columns<Scalar>, softmax<Scalar>};
}

template <typename Scalar>
constexpr CudaLoops<Scalar> loops() {
  return {rms_norm<Scalar>, rms_norm_backward<Scalar>,
          swiglu<Scalar>,   swiglu_backward<Scalar>,
          add<Scalar>,      rotate<Scalar>};
}

}  // namespace

const CudaTables* cuda_tables() {
  static const CudaTables all{loops<float>(), loops<double>(), loops<Bf16>(), tile_loops<float>(),
                              tile_loops<double>()};
  return &all;
}

}  // namespace notellm::kernels
