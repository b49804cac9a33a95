#include "notellm/generation/decode.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <list>
#include <optional>
#include <utility>

#include "logits.h"
#include "notellm/models/cache.h"
#include "notellm/ops/on_device.h"
#include "notellm/prompts/batching.h"
#include "notellm/util/check.h"
#include "notellm/util/memory.h"

namespace notellm {
namespace {

using kernels::TokenRange;

// Prompts enter in blocks, several of which fit in the cache: one is prefilled while others are
// decoded, and the products of a step stay large.
constexpr int64_t kBlocks = 4;

constexpr int64_t kMostNewTokens = 1 << 20;  // each takes a slot from the beginning

// Slots of the cache that one block holds until the last of its prompts is finished.
struct Block {
  int64_t first, slots;
  int64_t unfinished;
};
using Blocks = std::list<Block>;  // ascending

// A prompt being continued.
struct Sequence {
  int64_t group;  // which of the distinct prompts
  Blocks::iterator block;
  std::vector<TokenRange> path;  // the prompt's slots, then its own, which grow
  std::vector<int32_t> output;
};

// The distinct prompts of one block, to be prefilled.
struct Prefill {
  int64_t first_group;
  PrefixForest forest;
  int64_t slots;
};

class GreedyDecoder {
 public:
  GreedyDecoder(const DecoderWeights& weights,
                const at::Tensor& head,
                const DecoderConfig& config,
                const TokenLists& prompts,
                const DecodeOptions& options,
                int32_t eos)
      : weights_(prepare_weights(weights, options.compute)),
        head_(head.to(options.compute)),
        config_(config),
        prompts_(prompts),
        options_(options),
        eos_(eos),
        leaves_{.own_tail = 1},
        device_(weights.embedding.device()),
        batches_(prefix_batches(prompts,
                                {.budget = std::max<int64_t>(1, options.batch_tokens / kBlocks),
                                 .room = options.max_new_tokens,
                                 .forest = leaves_})) {
    outputs_.resize(batches_.groups.size() - 1);
    needed_ = std::ssize(prompts.ids) + std::ssize(outputs_) * options.max_new_tokens;
  }

  // By distinct prompt: what it is continued with.
  const std::vector<std::vector<int32_t>>& run(const ProgressFn& progress, int64_t total) {
    while (true) {
      while (admit_block()) continue;
      if (active_.empty()) return outputs_;
      report_progress(progress, finished_rows_, total);
      step();
    }
  }

  const PrefixBatches& batches() const { return batches_; }

 private:
  // Prefills the next block if there is one and it has room.
  bool admit_block() {
    if (!pending_ && next_batch_ < batches_.size()) pending_ = prefill_of(next_batch_++);
    if (!pending_) return false;
    const int64_t wanted = std::max(pending_->slots, std::min(options_.batch_tokens, needed_));
    if (blocks_.empty() && slots() != wanted) {  // nobody uses the cache
      cache_ = {};
      cache_ = make_cache(config_, wanted, options_.compute, device_);
    }
    const auto block = reserve(pending_->slots);
    if (block == blocks_.end()) return false;
    const Prefill prefill = *std::exchange(pending_, std::nullopt);
    start(prefill, block);
    return true;
  }

  Prefill prefill_of(int64_t batch) const {
    Prefill prefill{batches_.batches[batch],
                    prefix_forest(sequences_of(prompts_, batches_, batch), leaves_), 0};
    const int64_t prompts = std::ssize(prefill.forest.last);
    prefill.slots = std::ssize(prefill.forest.tokens) + prompts * options_.max_new_tokens;
    return prefill;
  }

  int64_t slots() const { return cache_.layers.empty() ? 0 : cache_.slots(); }

  // The first gap between blocks that is wide enough; the end if there is none.
  Blocks::iterator reserve(int64_t wanted) {
    int64_t first = 0;
    for (auto next = blocks_.begin();; ++next) {
      const int64_t end = next == blocks_.end() ? slots() : next->first;
      if (end - first >= wanted) return blocks_.insert(next, {first, wanted, 0});
      if (next == blocks_.end()) return blocks_.end();
      first = next->first + next->slots;
    }
  }

  void start(const Prefill& prefill, Blocks::iterator block) {
    const PrefixForest& forest = prefill.forest;
    const Segments segments(forest.segment_offsets, forest.segment_parents);
    std::vector<Sequence> entering;
    const at::Tensor prompt_positions = segments.positions();
    const int64_t* first_position = prompt_positions.const_data_ptr<int64_t>();
    std::vector<int64_t> positions(first_position, first_position + segments.tokens());
    for (const int64_t last : forest.last) {
      Sequence sequence{prefill.first_group + std::ssize(entering), block, {}, {}};
      const int64_t leaf = segment_of(forest.segment_offsets, last);
      for (const int64_t s : segments.chain(leaf)) {
        sequence.path.push_back({block->first + segments.begin(s), segments.length(s)});
      }
      sequence.path.push_back({block->first + std::ssize(positions), 0});
      const int64_t length = segments.start(leaf) + segments.length(leaf);
      for (int64_t i = 0; i < options_.max_new_tokens; ++i) positions.push_back(length + i);
      entering.push_back(std::move(sequence));
    }
    block->unfinished = std::ssize(entering);
    place(cache_, block->first, positions, config_);
    const DecoderPlan plan =
        with_slots(plan_decoder(segments, config_, options_.compute, device_, forest.last),
                   block->first, device_);
    emit(std::move(entering), decoder_states(on_device(forest.tokens, device_), weights_, config_,
                                             plan, &cache_.layers));
  }

  // One token more for everyone.
  void step() {
    std::vector<std::vector<TokenRange>> paths;
    std::vector<int64_t> tokens;
    for (Sequence& sequence : active_) {
      ++sequence.path.back().length;
      paths.push_back(sequence.path);
      tokens.push_back(sequence.output.back());
    }
    const DecoderPlan plan = plan_growth(paths, cache_, options_.compute);
    emit(std::exchange(active_, {}),
         decoder_states(on_device(tokens, device_), weights_, config_, plan, &cache_.layers));
  }

  // Gives each sequence its next token; those that go on are active.
  void emit(std::vector<Sequence> sequences, const at::Tensor& states) {
    const std::vector<int64_t> best = best_tokens(states);
    for (size_t i = 0; i < sequences.size(); ++i) {
      Sequence& sequence = sequences[i];
      if (best[i] != eos_) sequence.output.push_back(static_cast<int32_t>(best[i]));
      const bool is_full = std::ssize(sequence.output) == options_.max_new_tokens;
      if (best[i] == eos_ || is_full) {
        finish(sequence);
      } else {
        active_.push_back(std::move(sequence));
      }
    }
  }

  void finish(Sequence& sequence) {
    finished_rows_ += batches_.groups[sequence.group + 1] - batches_.groups[sequence.group];
    outputs_[sequence.group] = std::move(sequence.output);
    if (--sequence.block->unfinished == 0) blocks_.erase(sequence.block);
  }

  std::vector<int64_t> best_tokens(const at::Tensor& states) const {
    const at::Tensor best = internal::logits_of(states, head_).argmax(1).cpu();
    return {best.const_data_ptr<int64_t>(), best.const_data_ptr<int64_t>() + best.numel()};
  }

  DecoderWeights weights_;
  at::Tensor head_;
  const DecoderConfig& config_;
  const TokenLists& prompts_;
  DecodeOptions options_;
  int32_t eos_;
  ForestOptions leaves_;
  at::Device device_;
  PrefixBatches batches_;

  int64_t needed_;  // slots, if all prompts were in the cache together and shared nothing
  DecoderCache cache_;
  Blocks blocks_;
  int64_t next_batch_ = 0;
  std::optional<Prefill> pending_;
  std::vector<Sequence> active_;
  std::vector<std::vector<int32_t>> outputs_;  // by distinct prompt
  int64_t finished_rows_ = 0;
};

}  // namespace

std::vector<std::vector<int32_t>> generate_greedy(const DecoderWeights& weights,
                                                  const at::Tensor& head,
                                                  const DecoderConfig& config,
                                                  const PromptSet& prompts,
                                                  const TokenizedNotes& tokenized,
                                                  std::span<const NotePrompt> requests,
                                                  const DecodeOptions& options,
                                                  const ProgressFn& progress) {
  NOTELLM_CHECK_ARG(options.max_new_tokens >= 1, "max_new_tokens must be at least 1, but is ",
                    options.max_new_tokens);
  NOTELLM_CHECK_ARG(options.max_new_tokens <= kMostNewTokens, "max_new_tokens must be at most ",
                    kMostNewTokens, ", but is ", options.max_new_tokens);
  NOTELLM_CHECK_ARG(options.batch_tokens >= 1, "batch_tokens must be at least 1, but is ",
                    options.batch_tokens);
  const c10::InferenceMode no_graph;
  const FreedMemoryStays between_passes;
  const PromptSequences sequences = lay_out(prompts, tokenized, requests, PackMode::kGenerate);
  const int64_t total = std::ssize(requests);
  GreedyDecoder decoder(weights, head, config, sequences.tokens, options, prompts.eos);
  const auto& by_group = decoder.run(progress, total);
  const PrefixBatches& batches = decoder.batches();
  std::vector<std::vector<int32_t>> outputs(requests.size());
  for (size_t group = 0; group < by_group.size(); ++group) {
    for (int64_t i = batches.groups[group]; i < batches.groups[group + 1]; ++i) {
      outputs[batches.rows[i]] = by_group[group];
    }
  }
  report_progress(progress, total, total);
  return outputs;
}

}  // namespace notellm
