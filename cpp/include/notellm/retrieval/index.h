#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "notellm/retrieval/neighbours.h"

namespace notellm {

/// Takes the next `count` bytes of what is being written.
using WriteBytes = std::function<void(const void* from, size_t count)>;

/// Fills `to` with the next `count` bytes of what is being read; throws where it cannot.
using ReadBytes = std::function<void(void* to, size_t count)>;

/// The FAISS that the library was built with, such as "1.7.3".
///
/// @throws NotSupportedError  if the build has none.
std::string faiss_version();

/// A FAISS index: faster than exact search, but it may miss some neighbours.
///
/// It comes in two kinds. An index *over a pool* keeps the pool: FAISS proposes candidates in fp32;
/// they are then scored and ordered as `nearest_neighbours` does, so the same pair of vectors has
/// the same score everywhere. An index *built* from a sample and blocks of rows (`build`, `add`)
/// keeps only what FAISS keeps, which may be much less than the vectors. Its scores are FAISS's
/// own, which are approximate; `nearest_among` scores what it finds exactly where the vectors are
/// at hand.
///
/// Factory strings are FAISS's, of these parts and nothing else, and of at most 200 bytes:
///
///   [OPQ16, | OPQ16_64, | PCA32, | RR32, | L2norm,]...   what is done to each vector first
///   Flat | SQ8 | SQ6 | SQ4 | SQfp16 | PQ16 | PQ16x4 | PQ16x4fs   how vectors are kept
///   HNSW32 | HNSW32,SQ8                                  a graph with 32 links per vector
///   IVF256,Flat | IVF256_HNSW32,PQ16 | ...               256 clusters in front of one of the above
///   [,RFlat]                                             FAISS keeps the vectors too, and rescores
///
/// Other indexes of FAISS do not search by inner product, or their descriptions may end the
/// process. FAISS's clustering has seeds of its own, which are constant, so the sample decides what
/// is learned from it. With one thread, equal calls make equal indexes; with several, the links of
/// HNSW and the last bits of OPQ may differ.
///
/// All vectors must have norms below 1e15, since FAISS adds up squares in fp32.
///
/// Several threads may use an index at once; `add` and `set_parameters` wait for searches.
class NeighbourIndex {
 public:
  /// An index over a pool, which is also the sample it is trained on.
  ///
  /// @param pool        (N, d) floating point, finite; N >= 1. Kept by reference if it is fp32 or
  ///                    fp64 on the CPU, so do not change it; FAISS holds a copy of its own.
  /// @param factory     see above.
  /// @param parameters  as in `set_parameters`.
  /// @param progress    called with (0, 1), and with (rows added, N).
  /// @throws NotSupportedError      if the build has no FAISS.
  /// @throws std::invalid_argument  if the description, the parameters or the pool do not fit.
  NeighbourIndex(const at::Tensor& pool,
                 const std::string& factory,
                 const std::string& parameters = "",
                 const ProgressFn& progress = {});

  /// An index without rows, trained on a sample.
  ///
  /// @param width    d, in [1, 2^20].
  /// @param factory  see above.
  /// @param sample   (n, d) floating point, finite; undefined where nothing is to be learned (Flat,
  ///                 HNSW, SQfp16). n is at least the number of clusters, and at least 256 for PQ
  ///                 and OPQ (2^b for codes of b bits). FAISS uses at most 256 vectors per cluster.
  /// @param progress  called with (0, 1).
  /// @throws NotSupportedError      if the build has no FAISS.
  /// @throws std::invalid_argument  if the description or the sample do not fit; says how many
  ///                                vectors, or directions, are needed.
  static NeighbourIndex build(int64_t width,
                              const std::string& factory,
                              const at::Tensor& sample = {},
                              const ProgressFn& progress = {});

  ~NeighbourIndex();
  NeighbourIndex(NeighbourIndex&&) noexcept;
  NeighbourIndex& operator=(NeighbourIndex&&) noexcept;

  /// Adds rows behind those that are there; they are converted to fp32.
  ///
  /// FAISS gets them in blocks of 16,384, however the caller cuts them; the rest waits until the
  /// index is searched or written. So any blocks make the same index; only the links of HNSW also
  /// depend on which of several threads comes first.
  ///
  /// @param rows      (n, d) floating point, finite in fp32.
  /// @param progress  called with (rows added, n), before each block. Where it stops the call, rows
  ///                  that were added stay: `size` tells how many.
  /// @throws std::invalid_argument  if rows do not fit, or the index is one over a pool.
  void add(const at::Tensor& rows, const ProgressFn& progress = {});

  /// Sets what the next searches do, and what the next `add` does.
  ///
  /// @param parameters  "nprobe=8" (clusters searched), "max_codes=10000" (vectors searched, 0:
  /// all),
  ///                    "efSearch=64" and "efConstruction=80" (candidates of HNSW in a search and
  ///                    in an addition), "quantizer_efSearch=64" (of HNSW before clusters),
  ///                    "k_factor_rf=4" (candidates per neighbour of RFlat); several with commas.
  /// @throws std::invalid_argument  for others, and for those that this index does not have.
  void set_parameters(const std::string& parameters);

  /// The neighbours the index finds; arguments and errors as in `nearest_neighbours`. A built index
  /// takes queries of any floating dtype.
  ///
  /// @param progress  called with (queries done, Q), again while candidates of a pool are scored,
  ///                  and with (0, 1).
  /// @return  scores: exact for an index over a pool, otherwise FAISS's, in fp32. Ties are broken
  ///          by row. Fewer than k are found where the index has fewer rows, or its parameters let
  ///          it look at fewer.
  Neighbours search(const at::Tensor& queries,
                    int64_t k,
                    const at::Tensor& exclude = {},
                    const ProgressFn& progress = {}) const;

  /// (n, d) fp32: rows as FAISS keeps them, equal to what was added for Flat and HNSW alone.
  ///
  /// @param rows  (n) int64 in [0, size).
  /// @throws std::invalid_argument  if a row is out of range, or FAISS cannot (PQ16x4fs).
  ///
  /// Cost: O(N) for IVF, whatever the number of rows.
  at::Tensor stored(const at::Tensor& rows) const;

  /// Writes what FAISS keeps, in about a megabyte a call. Not written: the pool, and parameters of
  /// searches other than FAISS's own fields.
  void write(const WriteBytes& write) const;

  /// Reads what `write` wrote. FAISS believes its bytes: what is damaged may crash the process or
  /// take all memory. So check them first, as the file format of the Python package does with a
  /// checksum.
  ///
  /// @param length  how many bytes `write` wrote; no more are asked for.
  /// @throws NotSupportedError  if the build has no FAISS.
  /// @throws DataError          if FAISS refuses the bytes, or they are too many.
  static NeighbourIndex read(const ReadBytes& read, int64_t length);

  int64_t size() const;   ///< N, rows
  int64_t width() const;  ///< d

 private:
  struct Impl;
  explicit NeighbourIndex(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace notellm
