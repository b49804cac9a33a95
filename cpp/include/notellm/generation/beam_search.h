#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace notellm {

struct SearchOptions {
  int64_t beams = 1;                 ///< outputs followed at once; 1: one output, no search
  double length_penalty = 1;         ///< scores are divided by length (with its end) to this power
  int64_t max_new_tokens = 24;       ///< an output is cut here
  std::vector<int32_t> stop_tokens;  ///< each ends an output, and is no part of it
};

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

  explicit BeamSearch(const SearchOptions& options) : options_(&options), running_(1) {}

  const std::vector<Output>& running() const { return running_; }
  bool is_done() const { return running_.empty(); }

  /// The best finished one; without any (nothing could be written) an empty one.
  std::vector<int32_t> best() const;

  /// How many continuations of each running output `advance` wants to see, the best ones.
  static int64_t candidates(const SearchOptions& options);

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

  const SearchOptions* options_;
  std::vector<Output> running_;   // the best first
  std::vector<Output> finished_;  // the best first
};

}  // namespace notellm
