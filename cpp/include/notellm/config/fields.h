#pragma once

#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "notellm/config/schema.h"

/// The keys of schema.h and what their values must satisfy: the only list there is. Reading,
/// checking, the names offered after a typing error and the Python classes all walk it.
namespace notellm {

/// What a value must satisfy beyond its type. A list's rule holds for each item.
struct Rule {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool excludes_low = false;
  bool excludes_high = false;
  std::vector<std::string_view> choices = {};  ///< Of a string; none = any string.
  bool must_not_be_empty = false;              ///< For strings and lists.
};

inline Rule anything() { return {}; }
inline Rule at_least(double low) { return {.low = low}; }
inline Rule above(double low) { return {.low = low, .excludes_low = true}; }
inline Rule from_0_to_1() { return {.low = 0, .high = 1}; }
inline Rule above_0_to_1() { return {.low = 0, .high = 1, .excludes_low = true}; }
inline Rule between_0_and_1() {
  return {.low = 0, .high = 1, .excludes_low = true, .excludes_high = true};
}
inline Rule from_0_below_1() { return {.low = 0, .high = 1, .excludes_high = true}; }
inline Rule one_of(std::vector<std::string_view> choices) {
  return {.choices = std::move(choices)};
}
inline Rule not_empty() { return {.must_not_be_empty = true}; }
inline Rule some_at_least(double low) { return {.low = low, .must_not_be_empty = true}; }

/// Whether T is a group of keys, not a value.
template <typename T>
constexpr bool is_config_group =
    std::is_class_v<T> && !std::is_same_v<T, std::string> &&
    !std::is_same_v<T, std::vector<std::string>> && !std::is_same_v<T, std::vector<int64_t>>;

/// `visit_fields(group, visit)` calls `visit(key, pointer to member, rule)` for each field, in the
/// file's order. Only the type of `group` matters.
template <typename Visit>
void visit_fields(const DataConfig&, Visit&& visit) {
  visit("source", &DataConfig::source, one_of({"debian", "files"}));
  visit("folder", &DataConfig::folder, anything());
  visit("notes", &DataConfig::notes, anything());
  visit("interactions", &DataConfig::interactions, anything());
  visit("groups_column", &DataConfig::groups_column, anything());
  visit("ordered", &DataConfig::ordered, anything());
  visit("split", &DataConfig::split, one_of({"notes", "users"}));
  visit("test_share", &DataConfig::test_share, between_0_and_1());
  visit("split_seed", &DataConfig::split_seed, at_least(0));
  visit("held_out", &DataConfig::held_out, one_of({"test", "validation"}));
  visit("queries", &DataConfig::queries, at_least(0));
  visit("pairs", &DataConfig::pairs, one_of({"all", "tagged"}));
  visit("train_pairs", &DataConfig::train_pairs, at_least(0));
  visit("pool_notes", &DataConfig::pool_notes, one_of({"paired", "all"}));
  visit("pool", &DataConfig::pool, at_least(0));
}

template <typename Visit>
void visit_fields(const MiningConfig&, Visit&& visit) {
  visit("lower", &MiningConfig::lower, at_least(0));
  visit("upper", &MiningConfig::upper, above(0));
  visit("top", &MiningConfig::top, at_least(0));
  visit("min_users", &MiningConfig::min_users, at_least(1));
  visit("max_user_events", &MiningConfig::max_user_events, at_least(0));
  visit("max_gap_seconds", &MiningConfig::max_gap_seconds, at_least(0));
  visit("max_gap_events", &MiningConfig::max_gap_events, at_least(0));
}

template <typename Visit>
void visit_fields(const PromptConfig&, Visit&& visit) {
  visit("name", &PromptConfig::name, not_empty());
  visit("slot_lead", &PromptConfig::slot_lead, anything());
  visit("title_tokens", &PromptConfig::title_tokens, at_least(1));
  visit("content_tokens", &PromptConfig::content_tokens, at_least(1));
  visit("max_hashtags", &PromptConfig::max_hashtags, at_least(1));
  visit("max_hashtag_chars", &PromptConfig::max_hashtag_chars, at_least(1));
  visit("hashtag_separator", &PromptConfig::hashtag_separator, not_empty());
  visit("hashtag_count", &PromptConfig::hashtag_count, one_of({"one", "uniform", "all"}));
  visit("topics_in_hashtag_prompt", &PromptConfig::topics_in_hashtag_prompt,
        one_of({"none", "unsampled"}));
  visit("state", &PromptConfig::state, one_of({"before", "at"}));
  visit("category", &PromptConfig::category, not_empty());
  visit("hashtags", &PromptConfig::hashtags, not_empty());
}

template <typename Visit>
void visit_fields(const ModelConfig&, Visit&& visit) {
  visit("path", &ModelConfig::path, not_empty());
  visit("layers", &ModelConfig::layers, at_least(0));
  visit("pooling", &ModelConfig::pooling, one_of({"compression", "mean"}));
  visit("dim", &ModelConfig::dim, at_least(1));
  visit("tau", &ModelConfig::tau, anything());
}

template <typename Visit>
void visit_fields(const LoraConfig&, Visit&& visit) {
  visit("r", &LoraConfig::r, at_least(0));
  visit("alpha", &LoraConfig::alpha, above(0));
  visit("dropout", &LoraConfig::dropout, from_0_below_1());
  visit(
      "targets", &LoraConfig::targets,
      Rule{.choices = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
           .must_not_be_empty = true});
}

template <typename Visit>
void visit_fields(const LossConfig&, Visit&& visit) {
  visit("contrastive", &LossConfig::contrastive, anything());
  visit("alpha", &LossConfig::alpha, at_least(0));
  visit("hashtag_share", &LossConfig::hashtag_share, from_0_to_1());
  visit("csft_reduction", &LossConfig::csft_reduction, one_of({"note", "token"}));
  visit("mask_same_note", &LossConfig::mask_same_note, anything());
}

template <typename Visit>
void visit_fields(const TrainConfig&, Visit&& visit) {
  visit("pairs_per_step", &TrainConfig::pairs_per_step, at_least(1));
  visit("micro_pairs", &TrainConfig::micro_pairs, at_least(0));
  visit("checkpoint_layers", &TrainConfig::checkpoint_layers, anything());
  visit("shard_optimizer", &TrainConfig::shard_optimizer, anything());
  visit("epochs", &TrainConfig::epochs, at_least(1));
  visit("max_steps", &TrainConfig::max_steps, at_least(0));
  visit("lr", &TrainConfig::lr, at_least(0));
  visit("lr_head", &TrainConfig::lr_head, at_least(0));
  visit("weight_decay", &TrainConfig::weight_decay, at_least(0));
  visit("warmup_share", &TrainConfig::warmup_share, from_0_below_1());
  visit("clip_norm", &TrainConfig::clip_norm, at_least(0));
  visit("beta1", &TrainConfig::beta1, from_0_below_1());
  visit("beta2", &TrainConfig::beta2, from_0_below_1());
  visit("eps", &TrainConfig::eps, above(0));
  visit("checkpoint_every", &TrainConfig::checkpoint_every, at_least(0));
  visit("tensorboard", &TrainConfig::tensorboard, anything());
}

template <typename Visit>
void visit_fields(const EmbedConfig&, Visit&& visit) {
  visit("batch_tokens", &EmbedConfig::batch_tokens, at_least(1));
  visit("weights", &EmbedConfig::weights, one_of({"same", "int8"}));
}

template <typename Visit>
void visit_fields(const EvaluationConfig&, Visit&& visit) {
  Rule systems =
      one_of({"tfidf", "tfidf_full", "bm25", "zero_shot_mean", "zero_shot_last", "zero_shot_prompt",
              "sentence_bert_zero_shot", "sentence_bert", "cooccurrence", "trained"});
  systems.must_not_be_empty = true;
  visit("systems", &EvaluationConfig::systems, systems);
  visit("ks", &EvaluationConfig::ks, some_at_least(1));
  visit("ties", &EvaluationConfig::ties, one_of({"mean", "optimistic", "pessimistic"}));
  visit("bootstrap_samples", &EvaluationConfig::bootstrap_samples, at_least(1));
  visit("generation_notes", &EvaluationConfig::generation_notes, at_least(0));
  visit("low_share", &EvaluationConfig::low_share, above_0_to_1());
  visit("high_share", &EvaluationConfig::high_share, above_0_to_1());
}

template <typename Visit>
void visit_fields(const GenerationConfig&, Visit&& visit) {
  visit("max_new_tokens", &GenerationConfig::max_new_tokens, at_least(1));
  visit("hashtag_count", &GenerationConfig::hashtag_count, at_least(1));
  visit("batch_tokens", &GenerationConfig::batch_tokens, at_least(1));
  visit("beams", &GenerationConfig::beams, at_least(1));
  visit("length_penalty", &GenerationConfig::length_penalty, anything());
  visit("temperature", &GenerationConfig::temperature, at_least(0));
  visit("top_k", &GenerationConfig::top_k, at_least(0));
  visit("top_p", &GenerationConfig::top_p, above_0_to_1());
  visit("repetition_penalty", &GenerationConfig::repetition_penalty, above(0));
}

template <typename Visit>
void visit_fields(const Config&, Visit&& visit) {
  visit("name", &Config::name, not_empty());
  visit("run_dir", &Config::run_dir, not_empty());
  visit("seed", &Config::seed, at_least(0));
  visit("threads", &Config::threads, Rule{.low = 0, .high = 4096});
  visit("device", &Config::device, one_of({"cpu", "cuda"}));
  visit("dtype", &Config::dtype, one_of({"auto", "fp32", "bf16"}));
  visit("data", &Config::data, anything());
  visit("mining", &Config::mining, anything());
  visit("prompt", &Config::prompt, anything());
  visit("model", &Config::model, anything());
  visit("loss", &Config::loss, anything());
  visit("lora", &Config::lora, anything());
  visit("train", &Config::train, anything());
  visit("embed", &Config::embed, anything());
  visit("evaluation", &Config::evaluation, anything());
  visit("generation", &Config::generation, anything());
}

/// Why the fields of a group do not fit together, as the end of a message that begins with the
/// group's name; empty if they do.
inline std::string mismatch(const DataConfig& data) {
  const bool lacks_files = data.notes.empty() || data.interactions.empty();
  if (data.source == "files" && lacks_files) {
    return "source=files needs the files: set notes and interactions";
  }
  return "";
}

inline std::string mismatch(const MiningConfig& mining) {
  return mining.lower > mining.upper ? "lower must not be above upper" : "";
}

inline std::string mismatch(const LossConfig& loss) {
  const bool nothing_weighs = !loss.contrastive && loss.alpha == 0;
  return nothing_weighs ? "alpha must be above 0 where contrastive is false" : "";
}

inline std::string mismatch(const GenerationConfig& generation) {
  const bool has_both = generation.beams > 1 && generation.temperature > 0;
  return has_both ? "beams must be 1 where temperature is above 0" : "";
}

template <typename Group>
std::string mismatch(const Group&) {
  return "";
}

}  // namespace notellm
