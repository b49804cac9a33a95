#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "notellm/generation/options.h"

namespace notellm {

/// The running and finished outputs (beams) of one prompt; holds no model and no tensor.
///
/// With one beam, the token offered is simply taken. With W > 1 beams it is the beam search of
/// `transformers` (early_stopping False): among the 2 W best continuations (more if there are
/// several stop tokens), those of the first W that end with a stop token are finished, scored by
/// log p / length ^ length_penalty, and the best W others go on. The search ends when W outputs are
/// finished and no running one, scored at its present length, beats the worst of them.
class BeamSearch {
 public:
  struct Output {
    std::vector<int32_t> tokens;
    double score = 0;  ///< log p of the tokens; once finished, over length ^ length_penalty
  };
  struct Continuation {
    int64_t parent;  ///< index into `running`
    int32_t token;
    double score;  ///< log p of the whole output
  };

  explicit BeamSearch(const DecodingOptions& options) : options_(&options), running_(1) {}

  const std::vector<Output>& running() const { return running_; }
  bool is_done() const { return running_.empty(); }

  /// The best finished output; an empty one if there is none (nothing could be written).
  std::vector<int32_t> best() const;

  /// How many of the best continuations of each running output `advance` needs.
  static int64_t candidates(const DecodingOptions& options);

  /// Takes one step: each running output gets one more token.
  ///
  /// @param continuations  of all running outputs, in any order.
  /// @return               for each new running output, its parent's index before the step.
  std::vector<int64_t> advance(std::vector<Continuation> continuations);

 private:
  bool stops(int32_t token) const;
  Output longer(const Continuation& by) const;
  void finish(const Continuation& last);
  bool is_beaten(int64_t length) const;

  const DecodingOptions* options_;
  std::vector<Output> running_;   // best first
  std::vector<Output> finished_;  // best first
};

}  // namespace notellm
