#include "checks.h"

#include "tensors.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string_view>

#include "notellm/util/check.h"
#include "ops/tensor_checks.h"

namespace notellm::internal {
namespace {

// The parts of one block: each is checked for its own sizes and for the device of all.
class BlockCheck {
 public:
  BlockCheck(const char* where, at::Device device) : where_(where), device_(device) {}

  void operator()(std::string_view name,
                  const at::Tensor& x,
                  std::initializer_list<int64_t> sizes) const {
    check_floating(where_, name, x, sizes);
    check_device(where_, name, x, device_);
  }

  void maybe(std::string_view name,
             const at::Tensor& x,
             std::initializer_list<int64_t> sizes) const {
    if (x.defined()) (*this)(name, x, sizes);
  }

  // A prepared matrix is int8 where it has scales.
  void matrix(std::string_view name,
              const at::Tensor& x,
              const at::Tensor& scales,
              int64_t out,
              int64_t in) const {
    if (!scales.defined()) return (*this)(name, x, {out, in});
    check_tensor(where_, name, x, {out, in}, at::kChar);
    check_device(where_, name, x, device_);
    check_tensor(where_, "a matrix's scales", scales, {out}, at::kFloat);
    check_device(where_, "a matrix's scales", scales, device_);
  }

  // What LoRA adds: both matrices or none.
  void adapter(const Adapter& adapter, int64_t out, int64_t in) const {
    require(adapter.down.defined() == adapter.up.defined(), where_,
            "an adapter must have both down and up, but lacks one");
    if (!adapter.down.defined()) return;
    (*this)("an adapter's down", adapter.down, {kAny, in});
    (*this)("an adapter's up", adapter.up, {out, adapter.down.size(0)});
  }

 private:
  const char* where_;
  at::Device device_;
};

void check_given(const BlockCheck& check, const LayerWeights& w, const DecoderConfig& config) {
  const int64_t D = config.width, inner = config.inner_width, E = config.rope.head_dim;
  const int64_t queries = config.heads * E, keys = config.key_heads * E;
  check("query", w.query, {queries, D});
  check("key", w.key, {keys, D});
  check("value", w.value, {keys, D});
  check("output", w.output, {D, queries});
  check("gate", w.gate, {inner, D});
  check("up", w.up, {inner, D});
  check("down", w.down, {D, inner});
  const bool has_biases = w.query_bias.defined() || w.key_bias.defined() || w.value_bias.defined();
  if (has_biases) {
    check("query_bias", w.query_bias, {queries});
    check("key_bias", w.key_bias, {keys});
    check("value_bias", w.value_bias, {keys});
  }
  if (w.gate_bias.defined() || w.up_bias.defined()) {
    check("gate_bias", w.gate_bias, {inner});
    check("up_bias", w.up_bias, {inner});
  }
  const LayerAdapters& adapters = w.adapters;
  check.adapter(adapters.query, queries, D);
  check.adapter(adapters.key, keys, D);
  check.adapter(adapters.value, keys, D);
  check.adapter(adapters.output, D, queries);
  check.adapter(adapters.gate, inner, D);
  check.adapter(adapters.up, inner, D);
  check.adapter(adapters.down, D, inner);
}

void check_prepared(const BlockCheck& check, const LayerWeights& w, const DecoderConfig& config) {
  const int64_t D = config.width, inner = config.inner_width, E = config.rope.head_dim;
  const int64_t all = (config.heads + 2 * config.key_heads) * E;
  check.matrix("packed", w.packed, w.scales.packed, all, D);
  check.maybe("packed_bias", w.packed_bias, {all});
  check.matrix("output", w.output, w.scales.output, D, config.heads * E);
  check.matrix("gate_up", w.gate_up, w.scales.gate_up, 2 * inner, D);
  check.maybe("gate_up_bias", w.gate_up_bias, {2 * inner});
  check.matrix("down", w.down, w.scales.down, D, inner);
}

}  // namespace

void check_config(const char* where, const DecoderConfig& config) {
  const RopeOptions& rope = config.rope;
  const Require require(where);
  require(
      config.width >= 1 && config.inner_width >= 1 && config.layers >= 0 && config.vocabulary >= 1,
      "a decoder's sizes must be positive, but are width ", config.width, ", inner_width ",
      config.inner_width, ", layers ", config.layers, " and vocabulary ", config.vocabulary);
  require(config.key_heads >= 1 && config.heads >= 1 && config.heads % config.key_heads == 0,
          "query heads must be a multiple of key heads, but are ", config.heads, " and ",
          config.key_heads);
  require(rope.head_dim >= 2 && rope.head_dim % 2 == 0,
          "head_dim must be even and at least 2, but is ", rope.head_dim);
  require(std::isfinite(rope.theta) && rope.theta > 0, "theta must be positive, but is ",
          rope.theta);
}

void check_layer(const char* where,
                 const LayerWeights& w,
                 const DecoderConfig& config,
                 at::Device device) {
  const BlockCheck check(where, device);
  check("input_norm", w.input_norm, {config.width});
  check("post_norm", w.post_norm, {config.width});
  check.maybe("output_bias", w.output_bias, {config.width});
  check.maybe("down_bias", w.down_bias, {config.width});
  if (w.query_norm.defined() || w.key_norm.defined()) {
    check("query_norm", w.query_norm, {config.rope.head_dim});
    check("key_norm", w.key_norm, {config.rope.head_dim});
  }
  w.packed.defined() ? check_prepared(check, w, config) : check_given(check, w, config);
}

// Matrices of one input are laid side by side: there is no configuration that would say their
// sizes.
void check_matrices(const char* where, const LayerWeights& w, const at::Tensor& embedding) {
  check_floating(where, "the token embedding", embedding, {kAny, kAny});
  const int64_t width = embedding.size(1);
  const at::Tensor* const of_width[] = {&w.query, &w.key, &w.value, &w.gate, &w.up};
  for (const at::Tensor* matrix : of_width) {
    check_floating(where, "a matrix", *matrix, {kAny, width});
    check_device(where, "a matrix", *matrix, embedding.device());
  }
  check_floating(where, "output", w.output, {width, w.query.size(0)});
  check_floating(where, "down", w.down, {width, w.gate.size(0)});
}

void check_decoder(const char* where, const DecoderWeights& weights, const DecoderConfig& config) {
  check_config(where, config);
  require(std::ssize(weights.layers) == config.layers, where, "weights must be of ", config.layers,
          " layers, but are of ", weights.layers.size());
  check_floating(where, "the token embedding", weights.embedding, {kAny, config.width});
  check_floating(where, "the final norm", weights.norm, {config.width});
  check_device(where, "the final norm", weights.norm, weights.embedding.device());
}

void check_model(const char* where, const ModelWeights& model) {
  check_decoder(where, model.weights, model.config);
  const at::Device device = model.device();
  for (const LayerWeights& layer : model.weights.layers) {
    check_layer(where, layer, model.config, device);
  }
  check_floating(where, "the head", model.head, {kAny, model.config.width});
  check_device(where, "the head", model.head, device);
  require(model.head.size(0) <= model.weights.embedding.size(0), where,
          "the head must have no more rows than the token embedding, but has ", model.head.size(0),
          " against ", model.weights.embedding.size(0));
  if (!model.projection.defined()) return;
  check_floating(where, "the projection", model.projection, {kAny, model.config.width});
  check_device(where, "the projection", model.projection, device);
}

void check_tokens(const char* where, std::span<const int32_t> tokens, int64_t vocabulary) {
  for (const int32_t token : tokens) {
    if (token >= 0 && token < vocabulary) continue;
    throw_error<std::out_of_range>(where, "tokens must be in [0, ", vocabulary, "), but one is ",
                                   token, "; try the tokenizer that belongs to the model");
  }
}

void check_context(const char* where,
                   const char* what,
                   const TokenLists& prompts,
                   int64_t added,
                   int64_t max_positions) {
  for (int64_t i = 0; max_positions > 0 && i < prompts.size(); ++i) {
    const int64_t length = std::ssize(prompts[i]) + added;
    require(length <= max_positions, where, what, " must fit the model's context of ",
            max_positions, " tokens, but that of request ", i, " takes ", length,
            "; try a prompt that cuts titles and contents shorter");
  }
}

}  // namespace notellm::internal
