#include "notellm/generation/score.h"

#include <c10/core/GradMode.h>
#include "tensors.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "logits.h"
#include "models/checks.h"
#include "notellm/ops/on_device.h"
#include "notellm/prompts/batching.h"
#include "notellm/util/check.h"
#include "notellm/util/memory.h"

namespace notellm {
namespace {

// The candidates as a trie, and the log-probabilities needed for a note: of label `labels[i]` after
// state `states[i]`, where state 0 belongs to the prompt's last token and state t + 1 to token t.
struct Trie {
  PrefixForest forest;
  std::vector<int64_t> states, labels;  // ascending by state
  std::vector<int64_t> of_token;        // by token: its index in `labels`
  std::vector<int64_t> of_end;          // by candidate: the index of its EOS
  std::vector<int64_t> before;          // by token: the token before it, -1 for the prompt

  int64_t tokens() const { return std::ssize(forest.tokens); }
};

Trie make_trie(const TokenLists& candidates, int32_t eos) {
  Trie trie;
  trie.forest = prefix_forest(candidates.spans(), {.min_shared = 1});
  const PrefixForest& forest = trie.forest;
  for (size_t s = 0; s < forest.segment_parents.size(); ++s) {
    const int64_t parent = forest.segment_parents[s];
    const int64_t first = forest.segment_offsets[s];
    for (int64_t t = first; t < forest.segment_offsets[s + 1]; ++t) {
      const int64_t above = parent < 0 ? -1 : forest.segment_offsets[parent + 1] - 1;
      trie.before.push_back(t == first ? above : t - 1);
    }
  }
  struct Wanted {
    int64_t state, label, index;  // index: a token, or number of tokens + candidate
  };
  std::vector<Wanted> wanted;
  for (int64_t t = 0; t < trie.tokens(); ++t) {
    wanted.push_back({trie.before[t] + 1, forest.tokens[t], t});
  }
  for (int64_t c = 0; c < candidates.size(); ++c) {
    wanted.push_back({forest.last[c] + 1, eos, trie.tokens() + c});
  }
  std::ranges::stable_sort(wanted, {}, &Wanted::state);
  trie.of_token.resize(trie.tokens());
  trie.of_end.resize(candidates.size());
  for (const Wanted& one : wanted) {
    const bool is_token = one.index < trie.tokens();
    auto& places = is_token ? trie.of_token : trie.of_end;
    places[is_token ? one.index : one.index - trie.tokens()] = std::ssize(trie.states);
    trie.states.push_back(one.state);
    trie.labels.push_back(one.label);
  }
  return trie;
}

// The distinct prompts of one pass, each with a copy of the trie below its last token.
struct Pass {
  std::vector<int64_t> tokens, offsets, parents;
  std::vector<int64_t> read_rows;  // prompt by prompt: its last token, then its trie
};

Pass make_pass(const PrefixForest& prompts, const Trie& trie) {
  Pass pass{prompts.tokens, prompts.segment_offsets, prompts.segment_parents, {}};
  for (const int64_t last : prompts.last) {
    const int64_t leaf = segment_of(prompts.segment_offsets, last);
    const int64_t first_token = std::ssize(pass.tokens), first_segment = std::ssize(pass.parents);
    pass.read_rows.push_back(last);
    pass.tokens.insert(pass.tokens.end(), trie.forest.tokens.begin(), trie.forest.tokens.end());
    for (int64_t t = first_token; t < std::ssize(pass.tokens); ++t) pass.read_rows.push_back(t);
    for (size_t s = 0; s < trie.forest.segment_parents.size(); ++s) {
      const int64_t parent = trie.forest.segment_parents[s];
      pass.parents.push_back(parent < 0 ? leaf : first_segment + parent);
      pass.offsets.push_back(first_token + trie.forest.segment_offsets[s + 1]);
    }
  }
  return pass;
}

// (prompts, wanted) fp64 on the CPU: the trie's log-probabilities, from the states of a pass.
at::Tensor wanted_log_probs(const at::Tensor& states,
                            const at::Tensor& head,
                            const Trie& trie,
                            const ScoreOptions& options) {
  const int64_t by_prompt = trie.tokens() + 1, wanted = std::ssize(trie.states);
  const int64_t prompts = states.size(0) / by_prompt;
  std::vector<int64_t> rows, labels;
  for (int64_t p = 0; p < prompts; ++p) {
    for (const int64_t state : trie.states) rows.push_back(p * by_prompt + state);
    labels.insert(labels.end(), trie.labels.begin(), trie.labels.end());
  }
  const int64_t step = std::max<int64_t>(1, options.max_logits / head.size(0));
  std::vector<at::Tensor> parts;
  auto begin = rows.begin();
  for (int64_t row = 0; row < states.size(0); row += step) {
    const int64_t count = std::min(step, states.size(0) - row);
    const auto end = std::lower_bound(begin, rows.end(), row + count);
    std::vector<int64_t> own(begin, end);
    for (int64_t& r : own) r -= row;
    const std::span own_labels(labels.data() + (begin - rows.begin()), own.size());
    const at::Tensor logits =
        internal::logits_of(states.narrow(0, row, count), head).to(wide_dtype(options.compute));
    const at::Tensor at_rows = on_device(own, states.device());
    const at::Tensor picked = logits.index({at_rows, on_device(own_labels, states.device())});
    parts.push_back((picked - logits.logsumexp(1).index_select(0, at_rows)).to(at::kDouble).cpu());
    begin = end;
  }
  return at::cat(parts).view({prompts, wanted});
}

// Sums of log-probabilities along the paths of the trie: (C) scores of one prompt.
void sum_paths(const double* log_probs, const Trie& trie, double* scores) {
  std::vector<double> path(trie.tokens());
  for (int64_t t = 0; t < trie.tokens(); ++t) {
    path[t] = log_probs[trie.of_token[t]] + (trie.before[t] < 0 ? 0 : path[trie.before[t]]);
  }
  for (size_t c = 0; c < trie.of_end.size(); ++c) {
    scores[c] = path[trie.forest.last[c]] + log_probs[trie.of_end[c]];
  }
}

void check_finite(std::span<const double> scores, int64_t note) {
  if (std::ranges::all_of(scores, [](double score) { return std::isfinite(score); })) return;
  internal::throw_error<DataError>("score_categories",
                                   "log-probabilities must be finite, but one of note ", note,
                                   " is not; try dtype fp32, and weights that are finite");
}

int64_t longest(const TokenLists& lists) {
  int64_t most = 0;
  for (int64_t i = 0; i < lists.size(); ++i) most = std::max(most, std::ssize(lists[i]));
  return most;
}

}  // namespace

CategoryTokens category_tokens(const PromptSet& prompts, const TokenLists& categories) {
  const internal::Require require("category_tokens");
  TokenizedNotes notes;  // notes with nothing but a category
  notes.categories = categories;
  std::vector<NotePrompt> requests(categories.size());
  for (int64_t c = 0; c < categories.size(); ++c) {
    require(!categories[c].empty(), "categories must not be empty, but number ", c, " is");
    notes.titles.push_back({});
    notes.contents.push_back({});
    notes.hashtag_offsets.push_back(0);
    requests[c].note = c;
  }
  const PromptSequences written =
      lay_out(prompts, notes, requests, PackMode::kTrain, "category_tokens");
  CategoryTokens candidates;
  std::set<std::vector<int64_t>> known;
  for (int64_t c = 0; c < categories.size(); ++c) {
    const auto first = written.labels.begin() + written.label_offsets[c];
    const auto end = written.labels.begin() + written.label_offsets[c + 1];
    candidates.labels.push_back(end - first);
    const std::vector<int32_t> tokens(first, end - 1);  // without the EOS
    candidates.tokens.push_back(tokens);
    require(known.emplace(first, end).second, "categories must be distinct, but number ", c,
            " is written as an earlier one");
  }
  return candidates;
}

at::Tensor score_categories(const ModelWeights& model,
                            const PromptedNotes& notes,
                            std::span<const int64_t> indices,
                            const CategoryTokens& candidates,
                            const ScoreOptions& options,
                            const ProgressFn& progress) {
  const internal::Require require("score_categories");
  require(candidates.tokens.size() >= 1, "there must be a category, but there is none");
  require(options.batch_tokens >= 1 && options.max_logits >= 1,
          "batch_tokens and max_logits must be at least 1, but are ", options.batch_tokens, " and ",
          options.max_logits);
  internal::check_model("score_categories", model);
  const c10::AutoGradMode no_graph(false);  // not InferenceMode: callers compute with the scores
  const KeepsFreedMemory between_passes;
  std::vector<NotePrompt> requests;
  for (const int64_t note : indices) requests.emplace_back().note = note;
  const PromptSequences sequences =
      lay_out(notes.prompts, notes.notes, requests, PackMode::kGenerate, "score_categories");
  const int64_t vocabulary = std::min(model.weights.embedding.size(0), model.head.size(0));
  internal::check_tokens("score_categories", sequences.tokens.ids, vocabulary);
  internal::check_tokens("score_categories", candidates.tokens.ids, vocabulary);
  internal::check_tokens("score_categories", {&notes.prompts.eos, 1}, vocabulary);
  internal::check_context("score_categories", "a prompt with the longest category",
                          sequences.tokens, longest(candidates.tokens), model.config.max_positions);
  const Trie trie = make_trie(candidates.tokens, notes.prompts.eos);
  const ForestOptions leaves{.own_tail = 1};
  const PrefixBatches batches = prefix_batches(
      sequences.tokens, {.budget = options.batch_tokens, .room = trie.tokens(), .forest = leaves});
  const DecoderWeights cast = prepare_weights(model.weights, options.compute);
  const at::Tensor cast_head = for_products(model.head, options.compute);
  const at::Device device = model.device();
  const int64_t total = std::ssize(indices), count = candidates.tokens.size();
  at::Tensor scores = at::empty({total, count}, at::kDouble);
  for (int64_t b = 0; b < batches.size(); ++b) {
    report_progress(progress, batches.groups[batches.batches[b]], total);
    const Pass pass =
        make_pass(prefix_forest(sequences_of(sequences.tokens, batches, b), leaves), trie);
    const Segments segments(pass.offsets, pass.parents);
    const DecoderPlan plan =
        plan_decoder(segments, model.config, options.compute, device, pass.read_rows);
    const at::Tensor states =
        decoder_states(on_device(pass.tokens, device), cast, model.config, plan);
    const at::Tensor wanted = wanted_log_probs(states, cast_head, trie, options);
    for (int64_t g = batches.batches[b]; g < batches.batches[b + 1]; ++g) {
      const double* own = wanted[g - batches.batches[b]].const_data_ptr<double>();
      for (int64_t i = batches.groups[g]; i < batches.groups[g + 1]; ++i) {
        double* const of_note = scores.mutable_data_ptr<double>() + batches.rows[i] * count;
        sum_paths(own, trie, of_note);
        check_finite({of_note, static_cast<size_t>(count)}, indices[batches.rows[i]]);
      }
    }
  }
  report_progress(progress, total, total);
  return scores;
}

}  // namespace notellm
