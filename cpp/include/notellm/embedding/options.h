#pragma once

#include <c10/core/ScalarType.h>

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "notellm/models/weight_storage.h"
#include "notellm/options/option.h"

namespace notellm {

/// Which of a note's hidden states become its vector.
enum class Pooling {
  kCompression,  ///< the state of the token just before [EMB]
  kMean,  ///< the mean over the note's own tokens (of a prompt without instruction: the bare note)
};

constexpr auto names_of(Pooling) {
  return std::array{std::pair{"compression", Pooling::kCompression},
                    std::pair{"mean", Pooling::kMean}};
}

/// How vectors are kept in files.
enum class VectorStorage {
  kFp32,  ///< as they are computed
  kInt8,  ///< a byte for each number, and a scale for each vector (`quantise`)
};

constexpr auto names_of(VectorStorage) {
  return std::array{std::pair{"fp32", VectorStorage::kFp32},
                    std::pair{"int8", VectorStorage::kInt8}};
}

struct EmbedOptions {
  int64_t batch_tokens = 4096;
  WeightStorage weights = WeightStorage::kSame;
  int64_t dim = 0;
  VectorStorage storage = VectorStorage::kFp32;  ///< for who writes; `embed_notes` rounds nothing

  // Set for each call, no options:
  Pooling pooling = Pooling::kCompression;
  bool projected = true;  ///< false: return pooled states even if the model has a projection
  c10::ScalarType compute = c10::kFloat;  ///< dtype of the matrix products: fp64, fp32 or bf16

  static constexpr const char* kMeaning = "Embedding a pool of notes.";

  template <typename Visit>
  static void describe(Visit&& option) {
    option("batch_tokens", &EmbedOptions::batch_tokens,
           "Most tokens that one forward pass computes, those that notes share counted once; a "
           "longer note gets its own pass. More is faster and takes more memory.",
           at_least(1).in("tokens").decides_cost());
    option(
        "weights", &EmbedOptions::weights,
        "How the blocks' matrices are kept meanwhile: the same as the arithmetic, or int8 with a "
        "scale for every row, which takes least memory and moves vectors a little.",
        anything());
    option("dim", &EmbedOptions::dim,
           "Numbers kept of each vector, the first ones, normalised anew; 0 = all. They are good "
           "where the model was trained with this one of loss.nested_dims.",
           at_least(0).in("numbers").added_later());
    option("storage", &EmbedOptions::storage,
           "How vectors are kept in files: fp32, or int8 with a scale for every vector, which is "
           "off by at most 1/254 of the vector's largest number; an evaluation reads them so, too.",
           anything().added_later());
  }

  std::string mismatch() const { return ""; }
};

}  // namespace notellm
