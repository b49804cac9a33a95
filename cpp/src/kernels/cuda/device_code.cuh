#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/cuda/loops.h"

// The kernels themselves. A test compiles them for the CPU, too, where a thread of a block is a
// thread of the system (tests/cpp/kernels/cuda_on_cpu.h).
namespace notellm::kernels::cuda {

__device__ inline float widen(float x) { return x; }
__device__ inline double widen(double x) { return x; }
__device__ inline float widen(Bf16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float wide;
  memcpy(&wide, &bits, sizeof(wide));
  return wide;
}

__device__ inline void narrow(float* to, float x) { *to = x; }
__device__ inline void narrow(double* to, double x) { *to = x; }
// To the nearest, ties to even; NaN stays NaN.
__device__ inline void narrow(Bf16* to, float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof(bits));
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  to->bits = static_cast<uint16_t>(x != x ? 0x7fc0 : rounded);
}

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ inline double sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }

// The sum of all threads' values, for all threads, always in the same order.
template <int kThreads, typename Acc>
__device__ Acc block_sum(Acc value) {
  __shared__ Acc parts[kThreads];
  __syncthreads();  // until everybody has read the last sum
  parts[threadIdx.x] = value;
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
  }
  __syncthreads();
  return parts[0];
}

// A running maximum m and the sum of exp2(score - m) of the scores so far.
template <typename Scalar>
struct LogSum {
  Scalar maximum, sum;

  __device__ void add(Scalar score) { add({score, 1}); }

  // NaN is never greater, but makes the sum NaN.
  __device__ void add(const LogSum& other) {
    const Scalar both = other.maximum > maximum ? other.maximum : maximum;
    sum = sum * exp2(maximum - both) + other.sum * exp2(other.maximum - both);
    maximum = both;
  }
};

// The log-sum of all threads with the same `threadIdx.x % kColumns`, for those that come first,
// always in the same order.
template <int kThreads, int kColumns, typename Scalar>
__device__ LogSum<Scalar> block_log_sum(const LogSum<Scalar>& own) {
  __shared__ Scalar maxima[kThreads], sums[kThreads];
  maxima[threadIdx.x] = own.maximum, sums[threadIdx.x] = own.sum;
  for (unsigned half = kThreads / 2; half >= kColumns; half /= 2) {
    __syncthreads();
    if (threadIdx.x >= half) continue;
    LogSum<Scalar> both{maxima[threadIdx.x], sums[threadIdx.x]};
    both.add({maxima[threadIdx.x + half], sums[threadIdx.x + half]});
    maxima[threadIdx.x] = both.maximum, sums[threadIdx.x] = both.sum;
  }
  return {maxima[threadIdx.x], sums[threadIdx.x]};
}

// One block for each row.
template <int kThreads, typename Scalar, typename Acc = Accumulator<Scalar>>
__global__ void rms_norm(
    const Acc* x, const Acc* weight, double epsilon, int64_t width, Scalar* y, Acc* inverse_rms) {
  const int64_t row = blockIdx.x;
  x += row * width, y += row * width;
  Acc squares = 0;
  for (int64_t i = threadIdx.x; i < width; i += kThreads) squares += x[i] * x[i];
  const Acc sum = block_sum<kThreads>(squares);
  const Acc inverse = Acc(1) / Acc(sqrt(double(sum) / double(width) + epsilon));
  if (threadIdx.x == 0) inverse_rms[row] = inverse;
  for (int64_t i = threadIdx.x; i < width; i += kThreads) narrow(y + i, x[i] * inverse * weight[i]);
}

// One block for each row; see `rms_norm_backward` in kernels/rows.h.
template <int kThreads, typename Scalar, typename Acc = Accumulator<Scalar>>
__global__ void rms_norm_input_gradient(const Scalar* y_gradient,
                                        const Acc* x,
                                        const Acc* weight,
                                        const Acc* inverse_rms,
                                        int64_t width,
                                        Acc* x_gradient) {
  const int64_t row = blockIdx.x;
  x += row * width, y_gradient += row * width, x_gradient += row * width;
  Acc dots = 0;
  for (int64_t i = threadIdx.x; i < width; i += kThreads)
    dots += widen(y_gradient[i]) * weight[i] * x[i];
  const Acc inverse = inverse_rms[row];
  const Acc pull = block_sum<kThreads>(dots) * inverse * inverse / Acc(width);
  for (int64_t i = threadIdx.x; i < width; i += kThreads)
    x_gradient[i] = (widen(y_gradient[i]) * weight[i] - x[i] * pull) * inverse;
}

// A thread for each column; blockIdx.y is the part of the rows.
template <int kThreads, typename Scalar, typename Acc = Accumulator<Scalar>>
__global__ void rms_norm_weight_gradient(const Scalar* y_gradient,
                                         const Acc* x,
                                         const Acc* inverse_rms,
                                         int64_t rows,
                                         int64_t width,
                                         Acc* parts) {
  const int64_t column = int64_t(blockIdx.x) * kThreads + threadIdx.x, part = blockIdx.y;
  if (column >= width) return;
  Acc sum = 0;
  for (int64_t row = part * rows / kCudaParts; row < (part + 1) * rows / kCudaParts; ++row)
    sum += widen(y_gradient[row * width + column]) * x[row * width + column] * inverse_rms[row];
  parts[part * width + column] = sum;
}

// A thread for each number of the result.
template <int kThreads, typename Scalar>
__global__ void swiglu(const Scalar* gate_up, int64_t n, int64_t width, Scalar* out) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n) return;
  const int64_t at = i / width * 2 * width + i % width;
  const auto gate = widen(gate_up[at]), up = widen(gate_up[at + width]);
  narrow(out + i, gate * sigmoid(gate) * up);
}

template <int kThreads, typename Scalar>
__global__ void swiglu_backward(const Scalar* out_gradient,
                                const Scalar* gate_up,
                                int64_t n,
                                int64_t width,
                                Scalar* gate_up_gradient) {
  using Acc = Accumulator<Scalar>;
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n) return;
  const int64_t at = i / width * 2 * width + i % width;
  const Acc gradient = widen(out_gradient[i]), gate = widen(gate_up[at]),
            up = widen(gate_up[at + width]), s = sigmoid(gate), silu = gate * s;
  narrow(gate_up_gradient + at, gradient * up * (s + silu * (Acc(1) - s)));
  narrow(gate_up_gradient + at + width, gradient * silu);
}

template <int kThreads, typename Scalar, typename Acc = Accumulator<Scalar>>
__global__ void add(const Acc* residual, const Scalar* branch, int64_t n, Acc* sum) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i < n) sum[i] = residual[i] + widen(branch[i]);
}

// A thread for each pair of numbers that are rotated together: i and i + E / 2 of a head.
template <int kThreads, typename Scalar>
__global__ void rotate(
    HeadRows<Scalar> x, const Scalar* cos, const Scalar* sin, int direction, Scalar* out) {
  using Acc = Accumulator<Scalar>;
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x, half = x.head_dim / 2;
  if (i >= x.tokens * x.heads * half) return;
  const int64_t token = i / (x.heads * half), head = i / half % x.heads, first = i % half;
  const Scalar* const from = x.numbers + token * x.stride + head * x.head_dim + first;
  const Scalar *const cosine = cos + token * x.head_dim + first, *const sine = sin +
                                                                               token * x.head_dim +
                                                                               first;
  Scalar* const to = out + (token * x.heads + head) * x.head_dim + first;
  const Acc low = widen(from[0]), high = widen(from[half]), turn = Acc(direction);
  narrow(to, low * widen(cosine[0]) - turn * high * widen(direction > 0 ? sine[0] : sine[half]));
  narrow(to + half,
         high * widen(cosine[half]) + turn * low * widen(direction > 0 ? sine[half] : sine[0]));
}

// blockIdx.y is the row; the blocks of a row share its columns. NaN is open.
template <int kThreads, typename Scalar>
__global__ void count_scores(ScoreTile<Scalar> tile) {
  const int64_t row = blockIdx.y, step = int64_t(gridDim.x) * kThreads;
  const Scalar* const scores = tile.scores + row * tile.width;
  const Scalar low = tile.low[row], high = tile.high[row];
  int32_t greater = 0;
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < tile.width; i += step) {
    const Scalar score = scores[i];
    greater += score > high;
    if (score > high || score < low) continue;
    const auto place = static_cast<int64_t>(
        atomicAdd(reinterpret_cast<unsigned long long*>(tile.open_count), 1ULL));
    if (place >= tile.capacity) continue;
    tile.open[2 * place] = static_cast<int32_t>(row);
    tile.open[2 * place + 1] = static_cast<int32_t>(i);
  }
  const int32_t sum = block_sum<kThreads>(greater);
  if (threadIdx.x == 0 && sum > 0)
    atomicAdd(reinterpret_cast<unsigned long long*>(tile.greater + row),
              static_cast<unsigned long long>(sum));
}

// Adds a log-sum to the running one of a row or column.
template <typename Scalar>
__device__ void absorb(const LogSumTile<Scalar>& tile, int64_t index, const LogSum<Scalar>& own) {
  LogSum<Scalar> all{tile.maxima[index], tile.sums[index]};
  all.add(own);
  tile.maxima[index] = all.maximum, tile.sums[index] = all.sum;
}

// One block for each row.
template <int kThreads, typename Scalar>
__global__ void absorb_rows(LogSumTile<Scalar> tile) {
  const int64_t row = blockIdx.x;
  const Scalar* const scores = tile.scores + row * tile.width;
  LogSum<Scalar> own{tile.maxima[row], 0};
  for (int64_t i = threadIdx.x; i < tile.width; i += kThreads) own.add(scores[i]);
  own = block_log_sum<kThreads, 1>(own);
  if (threadIdx.x == 0) absorb(tile, row, own);
}

// One block for kColumns columns, which lie side by side; its threads share their rows.
template <int kThreads, int kColumns, typename Scalar>
__global__ void absorb_columns(LogSumTile<Scalar> tile) {
  const int64_t column = int64_t(blockIdx.x) * kColumns + threadIdx.x % kColumns;
  const bool is_there = column < tile.width;
  LogSum<Scalar> own{is_there ? tile.maxima[column] : 0, 0};
  if (is_there)
    for (int64_t row = threadIdx.x / kColumns; row < tile.rows; row += kThreads / kColumns)
      own.add(tile.scores[row * tile.width + column]);
  own = block_log_sum<kThreads, kColumns>(own);
  if (is_there && threadIdx.x < kColumns) absorb(tile, column, own);
}

// A thread for each number.
template <int kThreads, typename Scalar>
__global__ void tile_softmax(const Scalar* scores,
                             const Scalar* log_sums,
                             bool is_by_row,
                             int64_t n,
                             int64_t width,
                             Scalar* out) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i < n) out[i] = exp2(scores[i] - log_sums[is_by_row ? i / width : i % width]);
}

}  // namespace notellm::kernels::cuda
