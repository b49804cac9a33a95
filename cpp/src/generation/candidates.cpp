#include "candidates.h"

#include "tensors.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "notellm/generation/next_token.h"
#include "notellm/util/check.h"

namespace notellm::internal {
namespace {

using TokenSets = std::vector<std::vector<int32_t>>;

// By output: the distinct tokens of prompt and output.
TokenSets seen_tokens(std::span<const Continued> outputs) {
  TokenSets seen;
  for (const Continued& one : outputs) {
    std::set<int32_t> own(one.prompt.begin(), one.prompt.end());
    own.insert(one.output.begin(), one.output.end());
    seen.emplace_back(own.begin(), own.end());
  }
  return seen;
}

TokenSets allowed_tokens(std::span<const Continued> outputs,
                         const OutputGrammar& grammar,
                         int64_t max_new_tokens) {
  TokenSets allowed;
  for (const Continued& one : outputs) {
    allowed.push_back(
        grammar.next(one.output, one.banned, max_new_tokens - std::ssize(one.output)));
  }
  return allowed;
}

// (n) one token per row.
at::Tensor chosen_tokens(const at::Tensor& logits,
                         std::span<const Continued> outputs,
                         const DecodingOptions& draw) {
  if (draw.temperature == 0) return logits.argmax(1);
  std::vector<double> uniforms;
  for (const Continued& one : outputs) {
    uniforms.push_back(uniform_of(draw.seed, one.prompt, std::ssize(one.output)));
  }
  return draw_tokens(logits, uniforms, draw);
}

// (n, k) the best tokens of each row, and their log p.
std::vector<std::vector<TokenCandidate>> best_candidates(const at::Tensor& log_probs,
                                                         std::span<const Continued> outputs,
                                                         int64_t count) {
  const auto [scores, ids] = log_probs.topk(std::min(count, log_probs.size(1)), 1);
  const at::Tensor scores_here = scores.to(at::kDouble).cpu(), ids_here = ids.cpu();
  const auto score = scores_here.accessor<double, 2>();
  const auto id = ids_here.accessor<int64_t, 2>();
  std::vector<std::vector<TokenCandidate>> candidates(outputs.size());
  for (size_t row = 0; row < outputs.size(); ++row) {
    for (int64_t i = 0; i < score.size(1) && std::isfinite(score[row][i]); ++i) {
      candidates[row].push_back(
          {static_cast<int32_t>(id[row][i]), outputs[row].score + score[row][i]});
    }
  }
  return candidates;
}

// By the largest of each row, which is NaN where any is: one pass over what a product of D numbers
// each has just made.
void check_finite(const at::Tensor& logits, std::span<const Continued> outputs) {
  const at::Tensor largest = logits.amax(1).to(at::kDouble).cpu();
  const double* value = largest.const_data_ptr<double>();
  for (size_t row = 0; row < outputs.size(); ++row) {
    if (std::isfinite(value[row])) continue;
    throw_error<DataError>("generate", "logits must be finite, but those of note ",
                           outputs[row].note,
                           " are not; try dtype fp32, and weights that are finite");
  }
}

}  // namespace

std::vector<std::vector<TokenCandidate>> token_candidates(at::Tensor logits,
                                                          std::span<const Continued> outputs,
                                                          const DecodingOptions& options,
                                                          const OutputGrammar* grammar) {
  check_finite(logits, outputs);
  const bool searches = options.beams > 1;
  const bool computes =
      searches || grammar || options.temperature > 0 || options.repetition_penalty != 1;
  if (computes && logits.scalar_type() == at::kBFloat16) logits = logits.to(at::kFloat);
  if (searches) logits = logits.log_softmax(1);
  if (options.repetition_penalty != 1) {
    penalise_repetition(logits, seen_tokens(outputs), options.repetition_penalty);
  }
  std::vector<char> is_stuck(outputs.size(), false);
  if (grammar) {
    TokenSets allowed = allowed_tokens(outputs, *grammar, options.max_new_tokens);
    for (size_t row = 0; row < outputs.size(); ++row) {
      is_stuck[row] = allowed[row].empty();
      if (is_stuck[row]) allowed[row] = {0};  // a dummy choice, dropped below
    }
    logits = keep_allowed(logits, allowed);
  }
  std::vector<std::vector<TokenCandidate>> candidates(outputs.size());
  if (searches) {
    candidates = best_candidates(logits, outputs, BeamSearch::candidates(options));
  } else {
    const at::Tensor chosen = chosen_tokens(logits, outputs, options).cpu();
    const int64_t* token = chosen.const_data_ptr<int64_t>();
    for (auto& own : candidates) own.push_back({static_cast<int32_t>(*token++), 0});
  }
  for (size_t row = 0; row < outputs.size(); ++row) {
    if (is_stuck[row]) candidates[row].clear();
  }
  return candidates;
}

}  // namespace notellm::internal
