#include "notellm/generation/decode.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "notellm/ops/on_device.h"
#include "notellm/prompts/batching.h"
#include "notellm/util/check.h"

namespace notellm {
namespace {

// One batch being decoded. Segment numbers name notes; `lengths` counts a segment's cached tokens.
class GreedyBatch {
 public:
  GreedyBatch(const DecoderWeights& weights,
              const at::Tensor& head,
              const DecoderConfig& config,
              const PrefixForest& forest,
              at::ScalarType compute)
      : weights_(weights),
        head_(head),
        config_(config),
        segments_(forest.segment_offsets, forest.segment_parents),
        cache_(empty_cache(config, segments_.count())),
        compute_(compute),
        device_(weights.embedding.device()) {
    for (int64_t s = 0; s < segments_.count(); ++s) lengths_.push_back(segments_.length(s));
    for (const int64_t last : forest.last) {
      note_segments_.push_back(segment_of(forest.segment_offsets, last));
    }
    const auto options =
        at::TensorOptions().dtype(attention_dtype(compute_, device_)).device(device_);
    const DecoderPlan plan = make_plan(plan_forest(segments_, options), config_, compute_);
    const at::Tensor states =
        decoder_states(on_device(forest.tokens, device_), weights_, config_, plan, &cache_);
    next_ = best_tokens(states.index_select(0, on_device(forest.last, device_)));
  }

  // Emits until every note met `eos` or has `limit` tokens.
  std::vector<std::vector<int32_t>> run(int64_t limit, int32_t eos) {
    std::vector<std::vector<int32_t>> outputs(note_segments_.size());
    std::vector<int64_t> active(note_segments_.size());
    for (size_t i = 0; i < active.size(); ++i) active[i] = static_cast<int64_t>(i);
    while (true) {
      std::vector<int64_t> going, tokens, grown;
      for (size_t i = 0; i < active.size(); ++i) {
        const int64_t note = active[i];
        if (next_[i] == eos) continue;
        outputs[note].push_back(static_cast<int32_t>(next_[i]));
        if (static_cast<int64_t>(outputs[note].size()) == limit) continue;
        going.push_back(note);
        tokens.push_back(next_[i]);
        grown.push_back(note_segments_[note]);
      }
      if (going.empty()) return outputs;
      active = std::move(going);
      step(tokens, grown);
    }
  }

 private:
  void step(const std::vector<int64_t>& tokens, const std::vector<int64_t>& grown) {
    const auto options = at::TensorOptions().dtype(compute_).device(device_);
    const DecoderPlan plan =
        make_plan(plan_growth(segments_, grown, lengths_, options), config_, compute_);
    next_ =
        best_tokens(decoder_states(on_device(tokens, device_), weights_, config_, plan, &cache_));
    for (const int64_t s : grown) ++lengths_[s];
  }

  std::vector<int64_t> best_tokens(const at::Tensor& states) const {
    const at::Tensor best = head_logits(states, head_, compute_).argmax(1).cpu();  // (notes)
    return {best.const_data_ptr<int64_t>(), best.const_data_ptr<int64_t>() + best.numel()};
  }

  const DecoderWeights& weights_;
  const at::Tensor& head_;
  const DecoderConfig& config_;
  Segments segments_;
  DecoderCache cache_;
  at::ScalarType compute_;
  at::Device device_;
  std::vector<int64_t> lengths_;        // by segment
  std::vector<int64_t> note_segments_;  // by note
  std::vector<int64_t> next_;           // by active note
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
  const c10::InferenceMode no_graph;
  const DecoderWeights cast = prepare_weights(weights, options.compute);
  const at::Tensor cast_head = head.to(options.compute);
  const PromptSequences sequences = lay_out(prompts, tokenized, requests, PackMode::kGenerate);
  const ForestOptions leaves{.own_tail = 1};
  const PrefixBatches batches = prefix_batches(
      sequences.tokens,
      {.budget = options.batch_tokens, .room = options.max_new_tokens, .forest = leaves});
  const int64_t total = static_cast<int64_t>(requests.size());
  std::vector<std::vector<int32_t>> outputs(requests.size());
  for (int64_t b = 0; b < batches.size(); ++b) {
    report_progress(progress, batches.groups[batches.batches[b]], total);
    const PrefixForest forest = prefix_forest(sequences_of(sequences.tokens, batches, b), leaves);
    GreedyBatch decoding(cast, cast_head, config, forest, options.compute);
    int64_t group = batches.batches[b];
    for (const auto& output : decoding.run(options.max_new_tokens, prompts.eos)) {
      for (int64_t i = batches.groups[group]; i < batches.groups[group + 1]; ++i) {
        outputs[batches.rows[i]] = output;
      }
      ++group;
    }
  }
  report_progress(progress, total, total);
  return outputs;
}

}  // namespace notellm
