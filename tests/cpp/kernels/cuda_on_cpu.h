#pragma once

#include <atomic>
#include <barrier>
#include <cmath>
#include <cstdint>
#include <thread>
#include <vector>

// Runs CUDA kernels on the CPU, so that tests need no GPU: each thread of a block is a thread of
// the system, and the blocks of a grid follow one another. Only what our kernels use is here.
#define __global__
#define __device__
#define __shared__ static  // one block runs at a time

namespace notellm::cuda_on_cpu {

struct Index {
  unsigned x = 1, y = 1;
};

inline std::barrier<>* block_barrier = nullptr;

/// Runs `kernel()` on a grid of blocks of `threads` threads.
template <typename Kernel>
void launch(Index grid, unsigned threads, const Kernel& kernel);

}  // namespace notellm::cuda_on_cpu

inline thread_local notellm::cuda_on_cpu::Index threadIdx, blockIdx;
inline notellm::cuda_on_cpu::Index gridDim;

inline void __syncthreads() { notellm::cuda_on_cpu::block_barrier->arrive_and_wait(); }

inline unsigned long long atomicAdd(unsigned long long* to, unsigned long long value) {
  return std::atomic_ref(*to).fetch_add(value);
}

template <typename Kernel>
void notellm::cuda_on_cpu::launch(Index grid, unsigned threads, const Kernel& kernel) {
  std::barrier<> barrier(threads);
  block_barrier = &barrier;
  gridDim = grid;
  std::vector<std::jthread> block;
  for (unsigned thread = 0; thread < threads; ++thread) {
    block.emplace_back([&, thread] {
      threadIdx = {thread, 0};
      for (unsigned y = 0; y < grid.y; ++y) {
        for (unsigned x = 0; x < grid.x; ++x) {
          blockIdx = {x, y};
          kernel();
          barrier.arrive_and_wait();
        }
      }
    });
  }
}
