#include "notellm/embedding/embed.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <vector>

#include "notellm/prompts/batching.h"

namespace notellm {
namespace {

// Row numbers, longest first, so that the largest pass comes first and memory never grows later.
std::vector<int64_t> longest_first(const std::vector<int64_t>& lengths) {
  std::vector<int64_t> rows(lengths.size());
  std::iota(rows.begin(), rows.end(), 0);
  std::stable_sort(rows.begin(), rows.end(),
                   [&](int64_t a, int64_t b) { return lengths[a] > lengths[b]; });
  return rows;
}

template <typename T>
std::vector<T> picked(const std::vector<T>& values, std::span<const int64_t> rows) {
  std::vector<T> result;
  for (const int64_t row : rows) result.push_back(values[row]);
  return result;
}

std::vector<int64_t> segment_ends(const PackedBatch& batch) {
  return {batch.segment_offsets.begin() + 1, batch.segment_offsets.end()};
}

// Mean over the segment that ends with each note's last token: the note without what it shares.
at::Tensor mean_states(const at::Tensor& states, const PackedBatch& batch) {
  const std::vector<int64_t> ends = segment_ends(batch);
  std::vector<at::Tensor> means;
  for (const int64_t last : batch.last) {
    const auto segment = std::lower_bound(ends.begin(), ends.end(), last + 1) - ends.begin();
    means.push_back(states.slice(0, batch.segment_offsets[segment], ends[segment]).mean(0));
  }
  return at::stack(means);
}

at::Tensor pooled_states(const at::Tensor& states, const PackedBatch& batch, Pooling pooling) {
  if (pooling == Pooling::kMean) return mean_states(states, batch);
  const at::Tensor rows = at::tensor(batch.compression, at::kLong).to(states.device());
  return states.index_select(0, rows);
}

}  // namespace

at::Tensor embed_notes(const DecoderWeights& weights,
                       const DecoderConfig& config,
                       const at::Tensor& projection,
                       const PromptSet& prompts,
                       const TokenizedNotes& tokenized,
                       std::span<const int64_t> notes,
                       const EmbedOptions& options,
                       const ProgressFn& progress,
                       EmbedReport* report) {
  const c10::AutoGradMode no_graph(false);  // not InferenceMode: callers compute with the vectors
  std::vector<NotePrompt> requests;
  for (const int64_t note : notes) requests.emplace_back().note = note;  // the category task
  const std::vector<int64_t> lengths = own_lengths(prompts, tokenized, requests, PackMode::kEmbed);
  const std::vector<int64_t> rows = longest_first(lengths);
  const std::vector<int64_t> batches =
      token_budget_batches(picked(lengths, rows), options.batch_tokens);

  const DecoderWeights cast = prepare_weights(weights, options.compute);
  const auto device = weights.embedding.device();
  const at::ScalarType dtype = state_dtype(options.compute);
  const int64_t total = static_cast<int64_t>(rows.size());
  const int64_t width = projection.defined() ? projection.size(0) : config.width;
  at::Tensor vectors = at::empty({total, width}, at::dtype(dtype).device(device));
  for (size_t b = 0; b + 1 < batches.size(); ++b) {
    report_progress(progress, batches[b], total);
    const std::span<const int64_t> chosen(rows.data() + batches[b], rows.data() + batches[b + 1]);
    const PackedBatch batch = pack(prompts, tokenized, picked(requests, chosen), PackMode::kEmbed);
    const Segments segments(batch.segment_offsets, batch.segment_parents);
    const DecoderPlan plan = plan_decoder(segments, config, options.compute, device);
    const at::Tensor tokens = at::tensor(batch.tokens, at::kLong).to(device);
    at::Tensor pooled =
        pooled_states(decoder_states(tokens, cast, config, plan), batch, options.pooling);
    if (projection.defined()) pooled = at::linear(pooled, projection.to(dtype));
    pooled = pooled / pooled.norm(2, {1}, true).clamp_min(1e-12);
    vectors.index_copy_(
        0, at::tensor(at::ArrayRef<int64_t>(chosen.data(), chosen.size()), at::kLong).to(device),
        pooled);
    if (!report) continue;
    report->computed_tokens += segments.tokens();
    // the notes' segments come last
    for (int64_t s = segments.count() - std::ssize(chosen); s < segments.count(); ++s) {
      report->sequence_tokens += segments.start(s) + segments.length(s);
    }
  }
  report_progress(progress, total, total);
  return vectors;
}

}  // namespace notellm
