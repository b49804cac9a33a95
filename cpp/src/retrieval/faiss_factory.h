#pragma once

#include <faiss/Index.h>
#include <faiss/impl/FaissException.h>

#include <cstdint>
#include <memory>
#include <string>

#include "notellm/util/check.h"
#include "notellm/util/progress.h"

/// What FAISS leaves to its callers: descriptions and parameters that it can be given at all.
namespace notellm::internal {

/// FAISS's exceptions as ours: what it does not accept is the caller's error.
template <typename Error = std::invalid_argument, typename Call>
auto accepted_by_faiss(const std::string& what, const Call& call) {
  try {
    return call();
  } catch (const faiss::FaissException& error) {
    throw_error<Error>("NeighbourIndex", "FAISS must accept ", what, ", but says: ", error.msg);
  }
}

/// What must be known of a factory string before FAISS sees it.
struct Description {
  std::string factory;
  int64_t needed = 0;  ///< vectors in the sample; 0 where nothing is learned
};

/// @throws std::invalid_argument  if it is not of the parts that `NeighbourIndex` lists, or has
///                                over 200 bytes.
Description parse_factory(const std::string& factory);

/// An index without training and rows. @throws std::invalid_argument  if the width is not in
/// [1, 2^20], or FAISS refuses it.
std::unique_ptr<faiss::Index> make_index(int64_t width, const Description& description);

/// Trains it on `n` vectors without a word on the standard streams.
///
/// @param progress  as in `stoppable`; the index is then unusable.
/// @throws std::invalid_argument  if the vectors are too few, or lie in too few directions.
void train(faiss::Index& index,
           const Description& description,
           int64_t n,
           const float* sample,
           const ProgressFn& progress);

/// See `NeighbourIndex::set_parameters`.
void set_parameters(faiss::Index& index, const std::string& parameters);

/// (count, d) rows as the index keeps them, written to `to`. The index is as before, also where
/// FAISS refuses.
void reconstruct(faiss::Index& index, const int64_t* rows, int64_t count, float* to);

}  // namespace notellm::internal
