#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <vector>

#include "notellm/options/option.h"
#include "notellm/util/check.h"

namespace notellm {

/// How an output is found: greedily, by sampling, or by beam search. The options mean the same as
/// in `transformers.generate`, where `beams` is `num_beams`.
struct DecodingOptions {
  int64_t max_new_tokens = 32;
  int64_t batch_tokens = 4096;
  int64_t beams = 1;
  double length_penalty = 1.0;
  double temperature = 0.0;
  int64_t top_k = 0;
  double top_p = 1.0;
  double repetition_penalty = 1.0;

  // Set for each call, no options:
  uint64_t seed = 0;                      ///< of the sampler
  std::vector<int32_t> stop_tokens = {};  ///< each ends an output and is not part of it; the
                                          ///< prompts' EOS is always one of them, and with a
                                          ///< grammar the only one
  c10::ScalarType compute = c10::kFloat;  ///< dtype of the matrix products: fp64, fp32 or bf16

  static constexpr const char* kMeaning = "How an output is found.";

  template <typename Visit>
  static void describe(Visit&& option) {
    option("max_new_tokens", &DecodingOptions::max_new_tokens,
           "Most tokens written for a note: an output that does not end by itself is cut here.",
           OptionFacts{.low = 1, .high = 1 << 20}.in("tokens"));
    option("batch_tokens", &DecodingOptions::batch_tokens,
           "Most prompt and output tokens decoded at once, those that prompts share counted once; "
           "more is faster and takes more memory.",
           at_least(1).in("tokens").decides_cost());
    option("beams", &DecodingOptions::beams,
           "Outputs followed at once by beam search; 1: greedy, or drawn.", at_least(1));
    option("length_penalty", &DecodingOptions::length_penalty,
           "Beam search compares log p / length ^ length_penalty.", anything());
    option("temperature", &DecodingOptions::temperature,
           "Above 0 (at least 1e-6) tokens are drawn, from logits divided by it.", at_least(0));
    option("top_k", &DecodingOptions::top_k,
           "Tokens are drawn from so many most probable ones; 0: from all.",
           at_least(0).in("tokens"));
    option(
        "top_p", &DecodingOptions::top_p,
        "Of those, from the fewest most probable ones whose probabilities sum up to at least it.",
        above_0_to_1());
    option("repetition_penalty", &DecodingOptions::repetition_penalty,
           "Positive logits of tokens in prompt or output are divided by it, negative ones "
           "multiplied; 1: as they are.",
           above(0));
  }

  std::string mismatch() const {
    if (temperature > 0 && temperature < 1e-6)
      return internal::joined("temperature must be 0 or at least 1e-6, but is ", temperature);
    if (beams > 1 && temperature > 0)
      return internal::joined("beams must be 1 where temperature is above 0, but is ", beams);
    return "";
  }
};

/// How a run writes categories and hashtags.
struct GenerationOptions : DecodingOptions {
  int64_t hashtag_count = 5;

  static constexpr const char* kMeaning = "Writing categories and hashtags.";

  template <typename Visit>
  static void describe(Visit&& option) {
    option("hashtag_count", &GenerationOptions::hashtag_count, "j: hashtags asked for.",
           at_least(1).in("hashtags"));
    DecodingOptions::describe(option);
  }
};

}  // namespace notellm
