#include "notellm/embedding/embed.h"

#include <c10/core/GradMode.h>
#include "tensors.h"

#include <algorithm>
#include <cmath>
#include <future>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "models/checks.h"
#include "notellm/embedding/truncated.h"
#include "notellm/ops/on_device.h"
#include "notellm/options/described.h"
#include "notellm/prompts/batching.h"
#include "notellm/prompts/prefix_forest.h"
#include "notellm/util/check.h"
#include "notellm/util/memory.h"

namespace notellm {
namespace {

// The packed tokens whose states become vectors, sequence by sequence, and how many of them each
// sequence has.
struct Reads {
  std::vector<int64_t> tokens;
  std::vector<int64_t> counts;
};

// The distinct sequences of one forward pass.
struct Pass {
  PrefixForest forest;
  std::optional<Segments> segments;
  std::vector<int64_t> root_tokens;  // by sequence
  std::vector<int64_t> rows;         // rows of the result that this pass fills
  std::vector<int64_t> sources;      // by row: its sequence
  Reads reads;
};

// An embedding prompt ends with the compressed token; distinct prompts end at distinct tokens.
Reads reads_of(const Pass& pass, Pooling pooling) {
  const PrefixForest& forest = pass.forest;
  if (pooling == Pooling::kCompression) {
    return {forest.last, std::vector<int64_t>(forest.last.size(), 1)};
  }
  Reads reads;
  for (size_t i = 0; i < forest.last.size(); ++i) {
    const auto path = path_to(forest.segment_offsets, forest.segment_parents, forest.last[i]);
    reads.tokens.insert(reads.tokens.end(), path.begin() + pass.root_tokens[i], path.end());
    reads.counts.push_back(std::ssize(path) - pass.root_tokens[i]);
  }
  return reads;
}

Pass make_pass(const PromptSequences& prompts,
               const PrefixBatches& batches,
               int64_t batch,
               Pooling pooling) {
  Pass pass;
  pass.forest = prefix_forest(sequences_of(prompts.tokens, batches, batch));
  const int64_t first = batches.batches[batch], end = batches.batches[batch + 1];
  for (int64_t g = first; g < end; ++g) {
    pass.root_tokens.push_back(prompts.root_tokens[batches.rows[batches.groups[g]]]);
    pass.sources.insert(pass.sources.end(), batches.groups[g + 1] - batches.groups[g], g - first);
  }
  pass.rows.assign(batches.rows.begin() + batches.groups[first],
                   batches.rows.begin() + batches.groups[end]);
  pass.segments.emplace(pass.forest.segment_offsets, pass.forest.segment_parents);
  pass.reads = reads_of(pass, pooling);
  return pass;
}

// Lays out one pass after another: the next one by a thread of its own, while this one is computed,
// so that a GPU need not wait.
class Passes {
 public:
  Passes(const PromptSequences& prompts, const PrefixBatches& batches, Pooling pooling)
      : prompts_(prompts), batches_(batches), pooling_(pooling) {
    begin_next();
  }

  Pass next() {
    Pass pass = next_.get();
    begin_next();
    return pass;
  }

 private:
  void begin_next() {
    if (begun_ == batches_.size()) return;
    const auto make = [this, batch = begun_++] {
      return make_pass(prompts_, batches_, batch, pooling_);
    };
    try {
      next_ = std::async(std::launch::async, make);
    } catch (const std::system_error&) {  // we may have no further thread
      next_ = std::async(std::launch::deferred, make);
    }
  }

  const PromptSequences& prompts_;
  const PrefixBatches& batches_;
  Pooling pooling_;
  int64_t begun_ = 0;
  std::future<Pass> next_;
};

// (reads, D): the states to be pooled. Only compressed tokens are distinct, which `plan_decoder`
// needs of read rows; the tokens of a mean may be shared between notes.
at::Tensor read_states(const Pass& pass, const ModelWeights& model, const EmbedOptions& options) {
  const at::Device device = model.device();
  const bool are_distinct = options.pooling == Pooling::kCompression;
  std::optional<std::span<const int64_t>> rows;
  if (are_distinct) rows = pass.reads.tokens;
  const DecoderPlan plan =
      plan_decoder(*pass.segments, model.config, options.compute, device, rows);
  const at::Tensor states =
      decoder_states(on_device(pass.forest.tokens, device), model.weights, model.config, plan);
  return are_distinct ? states : states.index_select(0, on_device(pass.reads.tokens, device));
}

// (sequences, D): the mean of each sequence's states, which lie one after the other.
at::Tensor pooled_states(const at::Tensor& states, const Reads& reads, Pooling pooling) {
  if (pooling == Pooling::kCompression) return states;
  std::vector<at::Tensor> means;
  for (const at::Tensor& own : states.split_with_sizes(reads.counts)) means.push_back(own.mean(0));
  return at::stack(means);
}

// How many of a vector's `full` numbers are asked for.
int64_t width_of(int64_t full, const EmbedOptions& options) {
  if (options.dim > full) {
    internal::throw_error<std::invalid_argument>("embed", "dim must be at most ", full,
                                                 ", the vectors' width, but is ", options.dim);
  }
  return options.dim ? options.dim : full;
}

// By the norms of some rows' vectors, before they were divided by them.
void check_finite(const at::Tensor& norms,
                  std::span<const int64_t> rows,
                  std::span<const int64_t> indices) {
  const at::Tensor host = norms.to(at::kDouble).cpu();
  const double* norm = host.const_data_ptr<double>();
  for (const int64_t row : rows) {
    if (std::isfinite(*norm++)) continue;
    internal::throw_error<DataError>("embed", "vectors must be finite, but that of note ",
                                     indices[row],
                                     " is not; try dtype fp32, and weights that are finite");
  }
}

}  // namespace

Embedded embed_notes(const ModelWeights& model,
                     const PromptedNotes& notes,
                     std::span<const int64_t> indices,
                     const EmbedOptions& options,
                     const ProgressFn& progress) {
  validate(options, "embed");
  internal::check_model("embed", model);
  const c10::AutoGradMode no_graph(false);  // not InferenceMode: callers compute with the vectors
  const KeepsFreedMemory between_passes;
  std::vector<NotePrompt> requests;
  for (const int64_t note : indices) requests.emplace_back().note = note;  // the category task
  const PromptSequences sequences =
      lay_out(notes.prompts, notes.notes, requests, PackMode::kEmbed, "embed");
  internal::check_tokens("embed", sequences.tokens.ids, model.weights.embedding.size(0));
  internal::check_context("embed", "a prompt", sequences.tokens, 0, model.config.max_positions);
  const PrefixBatches batches = prefix_batches(sequences.tokens, {.budget = options.batch_tokens});

  ModelWeights cast = model;
  cast.weights = prepare_weights(model.weights, options.compute, options.weights);
  const at::Tensor projection = options.projected ? model.projection : at::Tensor();
  const at::Device device = model.device();
  const at::ScalarType dtype = wide_dtype(options.compute);
  const int64_t total = std::ssize(requests);
  const int64_t width =
      width_of(projection.defined() ? projection.size(0) : model.config.width, options);
  Embedded result;
  result.vectors = at::empty({total, width}, at::dtype(dtype).device(device));
  result.sequence_tokens = std::ssize(sequences.tokens.ids);
  result.duplicate_notes = total - (std::ssize(batches.groups) - 1);
  result.weight_bytes = matrix_bytes(cast.weights);
  std::vector<at::Tensor> norms;  // by batch, of a device that is waited for but once, at the end
  Passes passes(sequences, batches, options.pooling);
  for (int64_t b = 0; b < batches.size(); ++b) {
    report_progress(progress, batches.groups[batches.batches[b]], total);
    const Pass pass = passes.next();
    at::Tensor pooled =
        pooled_states(read_states(pass, cast, options), pass.reads, options.pooling);
    if (projection.defined()) pooled = at::linear(pooled, projection.to(dtype));
    const at::Tensor own = pooled.norm(2, {1}, true);
    pooled = truncated(pooled / own.clamp_min(1e-12), width);
    const at::Tensor rows = on_device(pass.rows, device), sources = on_device(pass.sources, device);
    result.vectors.index_copy_(0, rows, pooled.index_select(0, sources));
    norms.push_back(own.squeeze(1).index_select(0, sources));
    if (device.is_cpu()) check_finite(norms.back(), pass.rows, indices);
    result.computed_tokens += pass.segments->tokens();
  }
  if (!device.is_cpu() && total > 0) check_finite(at::cat(norms), batches.rows, indices);
  report_progress(progress, total, total);
  return result;
}

}  // namespace notellm
