#include "notellm/generation/beam_search.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <utility>

namespace notellm {

int64_t BeamSearch::candidates(const DecodingOptions& options) {
  if (options.beams == 1) return 1;
  // enough that W outputs go on even if every stop token is among the best of each
  return options.beams * std::max<int64_t>(2, 1 + std::ssize(options.stop_tokens));
}

std::vector<int32_t> BeamSearch::best() const {
  return finished_.empty() ? std::vector<int32_t>() : finished_.front().tokens;
}

bool BeamSearch::stops(int32_t token) const {
  return std::ranges::find(options_->stop_tokens, token) != options_->stop_tokens.end();
}

// The parent output with one more token.
BeamSearch::Output BeamSearch::longer(const Continuation& by) const {
  Output output = running_[by.parent];
  output.tokens.push_back(by.token);
  output.score = by.score;
  return output;
}

void BeamSearch::finish(const Continuation& last) {
  Output output = longer(last);
  output.score /= std::pow(std::ssize(output.tokens), options_->length_penalty);
  if (stops(last.token)) output.tokens.pop_back();  // the stop token counts only for the length
  const auto place =
      std::ranges::upper_bound(finished_, output.score, std::greater<>(), &Output::score);
  finished_.insert(place, std::move(output));
  if (std::ssize(finished_) > options_->beams) finished_.pop_back();
}

// Whether no running output, scored at its present length, is better than the worst finished one.
bool BeamSearch::is_beaten(int64_t length) const {
  if (std::ssize(finished_) < options_->beams) return false;
  const double hoped = running_.front().score / std::pow(length, options_->length_penalty);
  return hoped <= finished_.back().score;
}

std::vector<int64_t> BeamSearch::advance(std::vector<Continuation> continuations) {
  std::ranges::stable_sort(continuations, std::greater<>(), &Continuation::score);
  const int64_t length = std::ssize(running_.front().tokens) + 1;
  const bool is_full = length == options_->max_new_tokens;
  const int64_t seen = std::min(std::ssize(continuations), candidates(*options_));
  std::vector<Output> running;
  std::vector<int64_t> parents;
  for (int64_t i = 0; i < seen; ++i) {
    const Continuation& one = continuations[i];
    if (is_full || stops(one.token)) {
      if (i < options_->beams) finish(one);
    } else if (std::ssize(running) < options_->beams) {
      running.push_back(longer(one));
      parents.push_back(one.parent);
    }
  }
  running_ = std::move(running);
  if (!running_.empty() && is_beaten(length)) running_.clear(), parents.clear();
  return parents;
}

}  // namespace notellm
