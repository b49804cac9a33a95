#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "notellm/retrieval/neighbours.h"

namespace notellm {

/// A FAISS index over a pool: faster than exact search, but it may miss some neighbours.
///
/// FAISS proposes candidates in fp32; they are then scored and ordered as `nearest_neighbours`
/// does, so the same pair of vectors has the same score everywhere.
class NeighbourIndex {
 public:
  /// @param pool        (N, d) floating point, finite; N >= 1. Kept by reference if it is fp32 or
  ///                    fp64 on the CPU, so do not change it; FAISS holds a copy of its own.
  /// @param factory     FAISS description, for example "Flat", "IVF64,Flat" or "HNSW32".
  /// @param parameters  FAISS search parameters, for example "nprobe=8" or "efSearch=64".
  /// @throws NotSupportedError      if the build has no FAISS.
  /// @throws std::invalid_argument  if FAISS refuses the description, the parameters or the pool.
  NeighbourIndex(const at::Tensor& pool,
                 const std::string& factory,
                 const std::string& parameters = "");
  ~NeighbourIndex();
  NeighbourIndex(NeighbourIndex&&) noexcept;
  NeighbourIndex& operator=(NeighbourIndex&&) noexcept;

  /// The neighbours the index finds; arguments and errors as in `nearest_neighbours`.
  Neighbours search(const at::Tensor& queries, int64_t k, const at::Tensor& exclude = {}) const;

  int64_t size() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace notellm
