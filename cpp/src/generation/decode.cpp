#include "notellm/generation/decode.h"

#include <c10/core/InferenceMode.h>
#include "tensors.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "candidates.h"
#include "logits.h"
#include "models/checks.h"
#include "notellm/models/cache.h"
#include "notellm/ops/on_device.h"
#include "notellm/options/described.h"
#include "notellm/prompts/batching.h"
#include "notellm/util/check.h"
#include "notellm/util/memory.h"
#include "slot_blocks.h"

// How prompts are continued. The cache is an array of slots, each with the keys and values of one
// token; nothing in it is ever moved.
//
// 1. *Batches.* Equal prompts become one group (several rows of the result, computed once); groups
//    are sorted by their tokens and cut into batches, so that prompts with a common prefix enter
//    together.
// 2. *A block enters* (`admit_block`, `start`) when the cache has room for a batch: slots for the
//    tokens of its prompts (shared prefixes once), and behind them slots for all outputs of each
//    prompt. One forward pass fills the slots of the prompts: this is the prefill.
// 3. *Lanes.* A prompt's output slots are divided into lanes, one for each beam; a running output
//    (`Branch`) writes its tokens into its lane. It attends to its path: ranges of slots, first
//    those of the prompt, then those of its output. To fork a beam, only its path is copied
//    (`forked`): the first child goes on in its parent's lane, the others in free ones.
// 4. *A step* (`step`) is one forward pass with one token for each running output of all blocks:
//    keys and values of the token chosen last go into its slot, and its final state gives the
//    logits of the next one.
// 5. *Choosing* (`emit`): grammar, penalties and sampling turn the logits into candidates; each
//    prompt's `BeamSearch` takes the ones it wants and says which outputs they continue.
// 6. *Leaving* (`finish`): a prompt's output is kept for its whole group; a block's slots are free
//    again when its last prompt has left.
namespace notellm {
namespace {

using internal::SlotBlocks;
using kernels::TokenRange;

// How many blocks fit in the cache: a new one can enter while others are being decoded, so that the
// matrix products of a step stay large.
constexpr int64_t kBlocks = 4;

// One of a prompt's running outputs in the cache. Its i-th token goes to the i-th slot of its lane.
struct Branch {
  std::vector<TokenRange> path;  // slots of the prompt and of the output without its last token
  int64_t lane;
};

// A prompt being continued.
struct Sequence {
  int64_t group;  // index of the distinct prompt
  SlotBlocks::Handle block;
  int64_t first_slot;  // of its lanes: one for each beam, max_new_tokens slots each
  BeamSearch search;
  std::vector<Branch> branches;  // by running output
};

// The distinct prompts of one block, to be prefilled.
struct Prefill {
  int64_t first_group;
  PrefixForest forest;
  int64_t slots;
};

// The branches of the new running outputs: the first child of a branch goes on in its parent's
// lane, the others in lanes that no child has taken.
std::vector<Branch> forked(const std::vector<Branch>& before,
                           std::span<const int64_t> parents,
                           int64_t lanes) {
  std::vector<char> is_taken(lanes, false), has_child(before.size(), false);
  for (const int64_t parent : parents) is_taken[before[parent].lane] = true;
  std::vector<Branch> after;
  int64_t free = 0;
  for (const int64_t parent : parents) {
    after.push_back(before[parent]);
    if (!std::exchange(has_child[parent], true)) continue;
    while (is_taken[free]) ++free;
    after.back().lane = free++;
  }
  return after;
}

class Decoder {
 public:
  // If the rules ban values, the bans of the first of several equal prompts apply to all of them.
  // `notes`: the note of each prompt, for messages.
  Decoder(const ModelWeights& model,
          const TokenLists& prompts,
          const DecodingOptions& options,
          const OutputRules& rules,
          std::vector<int64_t> notes)
      : weights_(prepare_weights(model.weights, options.compute)),
        head_(for_products(model.head, options.compute)),
        config_(model.config),
        prompts_(prompts),
        options_(options),
        rules_(rules),
        notes_(std::move(notes)),
        leaves_{.own_tail = 1},
        device_(model.device()),
        own_slots_(options.beams * options.max_new_tokens),
        batches_(prefix_batches(prompts,
                                {.budget = std::max<int64_t>(1, options.batch_tokens / kBlocks),
                                 .room = own_slots_,
                                 .forest = leaves_})) {
    outputs_.resize(batches_.groups.size() - 1);
    needed_ = std::ssize(prompts.ids) + std::ssize(outputs_) * own_slots_;
  }

  // Returns the output of each distinct prompt.
  //
  // @param before  rows (of `total`) finished by earlier decoders, for `progress`.
  std::vector<std::vector<int32_t>> run(const ProgressFn& progress, int64_t before, int64_t total) {
    while (true) {
      while (admit_block()) continue;
      if (active_.empty()) return std::move(outputs_);
      report_progress(progress, std::min(before + finished_rows_, total), total);
      step();
    }
  }

  const PrefixBatches& batches() const { return batches_; }

 private:
  // Prefills the next block if there is one and the cache has room for it.
  bool admit_block() {
    if (!pending_ && next_batch_ < batches_.size()) pending_ = prefill_of(next_batch_++);
    if (!pending_) return false;
    const int64_t wanted = std::max(pending_->slots, std::min(options_.batch_tokens, needed_));
    if (blocks_.empty() && slots() != wanted) {  // the cache is not in use
      cache_ = {};
      cache_ = make_cache(config_, wanted, options_.compute, device_);
    }
    const auto block = blocks_.reserve(pending_->slots, slots());
    if (block == blocks_.none()) return false;
    const Prefill prefill = *std::exchange(pending_, std::nullopt);
    start(prefill, block);
    return true;
  }

  Prefill prefill_of(int64_t batch) const {
    Prefill prefill{batches_.batches[batch],
                    prefix_forest(sequences_of(prompts_, batches_, batch), leaves_), 0};
    const int64_t prompts = std::ssize(prefill.forest.last);
    prefill.slots = std::ssize(prefill.forest.tokens) + prompts * own_slots_;
    return prefill;
  }

  int64_t slots() const { return cache_.layers.empty() ? 0 : cache_.slots(); }

  void start(const Prefill& prefill, SlotBlocks::Handle block) {
    const PrefixForest& forest = prefill.forest;
    const Segments segments(forest.segment_offsets, forest.segment_parents);
    std::vector<Sequence> entering;
    const at::Tensor prompt_positions = segments.positions();
    const int64_t* first_position = prompt_positions.const_data_ptr<int64_t>();
    std::vector<int64_t> positions(first_position, first_position + segments.tokens());
    for (const int64_t last : forest.last) {
      Branch branch{{}, 0};
      const int64_t leaf = segment_of(forest.segment_offsets, last);
      for (const int64_t s : segments.chain(leaf)) {
        branch.path.push_back({block->first + segments.begin(s), segments.length(s)});
      }
      entering.push_back({prefill.first_group + std::ssize(entering),
                          block,
                          block->first + std::ssize(positions),
                          BeamSearch(options_),
                          {std::move(branch)}});
      const int64_t length = segments.start(leaf) + segments.length(leaf);
      for (int64_t i = 0; i < own_slots_; ++i) {
        positions.push_back(length + i % options_.max_new_tokens);
      }
    }
    block->unfinished = std::ssize(entering);
    place(cache_, block->first, positions, config_);
    const DecoderPlan plan =
        with_slots(plan_decoder(segments, config_, options_.compute, device_, forest.last),
                   block->first, device_);
    emit(std::move(entering), decoder_states(on_device(forest.tokens, device_), weights_, config_,
                                             plan, &cache_.layers));
  }

  // One decoding step: one more token for every running output.
  void step() {
    std::vector<std::vector<TokenRange>> paths;
    std::vector<int64_t> tokens;
    for (Sequence& sequence : active_) {
      for (size_t b = 0; b < sequence.branches.size(); ++b) {
        const std::vector<int32_t>& output = sequence.search.running()[b].tokens;
        Branch& branch = sequence.branches[b];
        extend(branch.path, sequence.first_slot + branch.lane * options_.max_new_tokens +
                                std::ssize(output) - 1);
        paths.push_back(branch.path);
        tokens.push_back(output.back());
      }
    }
    const DecoderPlan plan = plan_decoding_step(paths, cache_, options_.compute);
    emit(std::exchange(active_, {}),
         decoder_states(on_device(tokens, device_), weights_, config_, plan, &cache_.layers));
  }

  static void extend(std::vector<TokenRange>& path, int64_t slot) {
    if (path.back().begin + path.back().length == slot) {
      ++path.back().length;
    } else {
      path.push_back({slot, 1});
    }
  }

  // Chooses the next token of each running output, in order; prompts that go on become active.
  void emit(std::vector<Sequence> sequences, const at::Tensor& states) {
    std::vector<internal::Continued> outputs;
    for (const Sequence& sequence : sequences) {
      const int64_t row = batches_.rows[batches_.groups[sequence.group]];
      for (const auto& running : sequence.search.running()) {
        outputs.push_back(
            {prompts_[row], running.tokens, running.score, notes_[row],
             rules_.banned.empty() ? std::span<const int64_t>() : std::span(rules_.banned[row])});
      }
    }
    const auto candidates = internal::token_candidates(internal::logits_of(states, head_), outputs,
                                                       options_, rules_.grammar);
    auto candidate = candidates.begin();
    for (Sequence& sequence : sequences) {
      std::vector<BeamSearch::Continuation> continuations;
      for (size_t b = 0; b < sequence.branches.size(); ++b, ++candidate) {
        for (const auto& [token, score] : *candidate) {
          continuations.push_back({static_cast<int64_t>(b), token, score});
        }
      }
      const auto parents = sequence.search.advance(std::move(continuations));
      if (sequence.search.is_done()) {
        finish(sequence);
      } else {
        sequence.branches = forked(sequence.branches, parents, options_.beams);
        active_.push_back(std::move(sequence));
      }
    }
  }

  void finish(Sequence& sequence) {
    finished_rows_ += batches_.groups[sequence.group + 1] - batches_.groups[sequence.group];
    outputs_[sequence.group] = sequence.search.best();
    blocks_.finish_one(sequence.block);
  }

  DecoderWeights weights_;
  at::Tensor head_;
  const DecoderConfig& config_;
  const TokenLists& prompts_;
  const DecodingOptions& options_;
  const OutputRules& rules_;
  std::vector<int64_t> notes_;  // by prompt
  ForestOptions leaves_;
  at::Device device_;
  int64_t own_slots_;  // slots for the outputs of one prompt
  PrefixBatches batches_;

  int64_t needed_;  // slots, if all prompts were in the cache together and shared nothing
  DecoderCache cache_;
  SlotBlocks blocks_;
  int64_t next_batch_ = 0;
  std::optional<Prefill> pending_;
  std::vector<Sequence> active_;
  std::vector<std::vector<int32_t>> outputs_;  // by distinct prompt
  int64_t finished_rows_ = 0;
};

void check(const DecodingOptions& options,
           const OutputRules& rules,
           int64_t requests,
           int64_t vocabulary) {
  const internal::Require require("generate");
  validate(options, "generate");
  for (const int32_t stop : options.stop_tokens) {
    require(stop >= 0 && stop < vocabulary, "stop tokens must be in [0, ", vocabulary,
            "), but one is ", stop);
  }
  require(rules.banned.empty() || (rules.grammar && std::ssize(rules.banned) == requests),
          "banned must be a list for each of ", requests, " requests with a grammar, but are ",
          rules.banned.size());
  if (!rules.grammar) return;
  const auto [low, high] = rules.grammar->token_range();
  require(low >= 0 && high < vocabulary, "the grammar's tokens must be in [0, ", vocabulary,
          "), but are in [", low, ", ", high, "]");
  for (const auto& numbers : rules.banned) {
    for (const int64_t number : numbers) {
      require(number >= 0 && number < rules.grammar->value_count(), "banned values must be in [0, ",
              rules.grammar->value_count(), "), but one is ", number);
    }
  }
  require(rules.grammar->shortest() <= options.max_new_tokens, "max_new_tokens must be at least ",
          rules.grammar->shortest(), " to write any of the known values, but is ",
          options.max_new_tokens);
}

// Tokens are read by the embedding table and penalised among the logits.
int64_t vocabulary_of(const ModelWeights& model) {
  return std::min(model.weights.embedding.size(0), model.head.size(0));
}

}  // namespace

std::vector<std::vector<int32_t>> generate(const ModelWeights& model,
                                           const PromptedNotes& notes,
                                           std::span<const NotePrompt> requests,
                                           const DecodingOptions& options,
                                           const OutputRules& rules,
                                           const ProgressFn& progress) {
  internal::check_model("generate", model);
  check(options, rules, std::ssize(requests), model.head.size(0));
  const c10::InferenceMode no_graph;
  const KeepsFreedMemory between_passes;
  DecodingOptions with_end = options;
  auto& stops = with_end.stop_tokens;
  if (rules.grammar) stops.clear();  // the grammar says where an output may end
  if (std::ranges::find(stops, notes.prompts.eos) == stops.end()) {
    stops.push_back(notes.prompts.eos);
  }
  const PromptSequences sequences =
      lay_out(notes.prompts, notes.notes, requests, PackMode::kGenerate, "generate");
  internal::check_tokens("generate", sequences.tokens.ids, vocabulary_of(model));
  internal::check_tokens("generate", {&notes.prompts.eos, 1}, vocabulary_of(model));
  internal::check_context("generate", "a prompt with its output", sequences.tokens,
                          options.max_new_tokens, model.config.max_positions);
  const int64_t total = std::ssize(requests);
  std::vector<std::vector<int32_t>> outputs(requests.size());
  std::vector<int64_t> open(requests.size());
  std::iota(open.begin(), open.end(), 0);
  while (!open.empty()) {  // another round only if equal prompts have different bans
    TokenLists prompts;
    OutputRules own{rules.grammar, {}};
    std::vector<int64_t> note_numbers;
    for (const int64_t request : open) {
      note_numbers.push_back(requests[request].note);
      prompts.push_back(sequences.tokens[request]);
      if (!rules.banned.empty()) own.banned.push_back(rules.banned[request]);
    }
    Decoder decoder(model, prompts, with_end, own, std::move(note_numbers));
    const auto by_group = decoder.run(progress, total - std::ssize(open), total);
    const PrefixBatches& batches = decoder.batches();
    std::vector<int64_t> later;
    for (size_t group = 0; group < by_group.size(); ++group) {
      const int64_t first = batches.rows[batches.groups[group]];
      for (int64_t i = batches.groups[group]; i < batches.groups[group + 1]; ++i) {
        const int64_t row = batches.rows[i];
        if (own.banned.empty() || own.banned[row] == own.banned[first]) {
          outputs[open[row]] = by_group[group];
        } else {
          later.push_back(open[row]);
        }
      }
    }
    open = std::move(later);
  }
  report_progress(progress, total, total);
  return outputs;
}

}  // namespace notellm
