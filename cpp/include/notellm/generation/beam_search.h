#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "notellm/generation/options.h"

namespace notellm {

/// The outputs that one prompt is being continued with; holds no model and no tensor.
///
/// With one beam, whatever token is offered is taken. With more it is the beam search of
/// `transformers` (early_stopping False): of the 2 W best continuations (more with more stop
/// tokens) those that stop among the first W are finished, with their log p divided by length ^
/// length_penalty, and the best W others go on. It ends when W are finished and no running one
/// beats the worst of them at its present length.
class BeamSearch {
 public:
  struct Output {
    std::vector<int32_t> tokens;
    double score = 0;  ///< log p of the tokens; finished ones: divided by length ^ length_penalty
  };
  struct Continuation {
    int64_t parent;  ///< place among `running`
    int32_t token;
    double score;  ///< log p of the whole
  };

  explicit BeamSearch(const DecodingOptions& options) : options_(&options), running_(1) {}

  const std::vector<Output>& running() const { return running_; }
  bool is_done() const { return running_.empty(); }

  /// The best finished one; without any (nothing could be written) an empty one.
  std::vector<int32_t> best() const;

  /// How many continuations of each running output `advance` wants to see, the best ones.
  static int64_t candidates(const DecodingOptions& options);

  /// One token more.
  ///
  /// @param continuations  of all running outputs, in any order.
  /// @return               by new running output: its parent's place among those before.
  std::vector<int64_t> advance(std::vector<Continuation> continuations);

 private:
  bool stops(int32_t token) const;
  Output longer(const Continuation& by) const;
  void finish(const Continuation& last);
  bool is_beaten(int64_t length) const;

  const DecodingOptions* options_;
  std::vector<Output> running_;   // the best first
  std::vector<Output> finished_;  // the best first
};

}  // namespace notellm
