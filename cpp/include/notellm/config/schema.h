#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace notellm {

/// Where notes and behaviour come from, and how they are split into training and test.
struct DataConfig {
  /// `debian` (the package catalogue) or `files`.
  std::string source = "debian";
  /// Cache of fetched data; empty = ~/.cache/notellm/<source>.
  std::string folder = "";
  /// files: table of notes (.parquet, .csv, .jsonl).
  std::string notes = "";
  /// files: table of user-note events.
  std::string interactions = "";
  /// files: column of notes that must not be split; empty = none.
  std::string groups_column = "";
  /// files: events have an order in time; false = baskets, symmetric.
  bool ordered = false;
  /// What is held out: `notes`, by groups, so that the model meets new ones; or `users` (baskets):
  /// all notes are known, and other users' behaviour is to be foreseen.
  std::string split = "notes";
  /// Share of groups (or users) held out, in (0, 1).
  double test_share = 0.3;
  /// Which of them; kept apart from `seed` so that runs share a split.
  int64_t split_seed = 0;
  /// What is measured on: `test`, or `validation`, as large a share of the rest, to choose options
  /// by; then nothing of the test side is trained or measured on.
  std::string held_out = "test";
  /// At most so many test pairs are evaluated; 0 = all.
  int64_t queries = 400;
  /// Which training pairs: `all`, or `tagged`, those of two notes with hashtags (studies of r).
  std::string pairs = "all";
  /// At most so many of them, drawn at random; 0 = all.
  int64_t train_pairs = 0;
  /// Which test notes can be in the pool: those of some test pair (`paired`), or `all`.
  std::string pool_notes = "paired";
  /// At most so many of them, those of the queries first; 0 = all.
  int64_t pool = 0;

  bool operator==(const DataConfig&) const = default;
};

/// Related pairs from co-occurrence, eq. (1).
struct MiningConfig {
  /// Pairs that score less are dropped; >= 0.
  double lower = 0.01;
  /// Pairs that score more are dropped; above `lower`.
  double upper = 30.0;
  /// Partners kept for each note, the best first; 0 = all.
  int64_t top = 10;
  /// Users who must support a pair.
  int64_t min_users = 1;
  /// Users with more events are left out; 0 = no limit.
  int64_t max_user_events = 0;
  /// Longest time from view to click; 0 = no limit.
  int64_t max_gap_seconds = 0;
  /// Most events from view to click; 0 = no limit.
  int64_t max_gap_events = 0;

  bool operator==(const MiningConfig&) const = default;
};

/// The compression prompt: fixed pieces and slots, each tokenised alone.
struct PromptConfig {
  /// Named in every result.
  std::string name = "paper";
  /// Put before every slot value that is not empty.
  std::string slot_lead = " ";
  /// Titles are cut to so many tokens.
  int64_t title_tokens = 20;
  /// Contents are cut to so many tokens.
  int64_t content_tokens = 80;
  /// A note's further hashtags are dropped.
  int64_t max_hashtags = 10;
  /// Each hashtag is cut to so many characters.
  int64_t max_hashtag_chars = 16;
  /// Fixed piece between two hashtags.
  std::string hashtag_separator = ",";
  /// Hashtags to generate in training: `one`, `uniform` (1..5) or `all`.
  std::string hashtag_count = "uniform";
  /// `none` or `unsampled`: those not asked for stay in the input.
  std::string topics_in_hashtag_prompt = "none";
  /// Whose state is the embedding: that of the token `before` [EMB], or of [EMB] itself (`at`).
  std::string state = "before";
  /// Pieces of the category task; `<title>`, `<emb>`, ... are slots.
  std::vector<std::string> category;
  /// Pieces of the hashtag task; `<j>` is the count.
  std::vector<std::string> hashtags;

  bool operator==(const PromptConfig&) const = default;
};

/// The backbone and what is put on top of it.
struct ModelConfig {
  /// Hugging Face folder, or the name of a model we can fetch.
  std::string path = "smollm2-135m";
  /// Keep the first so many layers; 0 = all.
  int64_t layers = 0;
  /// What becomes the vector: the state at the `compression` position, or the `mean` over the
  /// note's tokens up to it.
  std::string pooling = "compression";
  /// Width d of an embedding.
  int64_t dim = 128;
  /// First value of the learned log-scale: similarities are multiplied by exp(tau).
  double tau = 3.0;

  bool operator==(const ModelConfig&) const = default;
};

/// Low-rank adapters in place of training the whole backbone.
struct LoraConfig {
  /// Rank; 0 = none, all weights are trained.
  int64_t r = 0;
  /// The adapters' change is scaled by alpha / r.
  double alpha = 32;
  /// Share of the adapters' inputs that is dropped in training, in [0, 1).
  double dropout = 0;
  /// The matrices that have one.
  std::vector<std::string> targets = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                      "gate_proj", "up_proj", "down_proj"};

  bool operator==(const LoraConfig&) const = default;
};

/// The joint loss, eq. (4): (L_cl + alpha L_gen) / (1 + alpha).
struct LossConfig {
  /// Whether L_cl counts; false = L_gen alone (the paper's "w/o GCL").
  bool contrastive = true;
  /// Weight of the generative loss; 0 = contrastive only.
  double alpha = 0.01;
  /// Share r of a batch's notes that take the hashtag task, in [0, 1].
  double hashtag_share = 0.4;
  /// Mean over a note's tokens, then over notes (`note`), or over all tokens (`token`).
  std::string csft_reduction = "note";
  /// A note that occurs twice in a batch is no negative of itself or its partner.
  bool mask_same_note = true;

  bool operator==(const LossConfig&) const = default;
};

/// Optimisation.
struct TrainConfig {
  /// B: pairs of one update, 2B notes.
  int64_t pairs_per_step = 64;
  /// Pairs of one process whose graph is in memory at a time; 0 = all. Changes memory and time, not
  /// the update.
  int64_t micro_pairs = 0;
  /// Keep only every layer's input for the backward pass, which computes the rest again.
  bool checkpoint_layers = false;
  /// With several processes: each keeps the optimizer's state of its share of the weights.
  bool shard_optimizer = false;
  /// Passes over the pairs.
  int64_t epochs = 1;
  /// Updates, whatever `epochs` says; 0 = as `epochs` says.
  int64_t max_steps = 0;
  /// Peak learning rate of the backbone.
  double lr = 3e-6;
  /// Peak learning rate of the projection and tau.
  double lr_head = 3e-6;
  /// AdamW's, on matrices only.
  double weight_decay = 0.001;
  /// Share of the updates with rising rate, in [0, 1); then it falls to 0.
  double warmup_share = 0.1;
  /// Largest norm of the whole gradient; 0 = no limit.
  double clip_norm = 1.0;
  /// AdamW's, in [0, 1).
  double beta1 = 0.9;
  /// AdamW's, in [0, 1).
  double beta2 = 0.999;
  /// AdamW's, > 0.
  double eps = 1e-8;
  /// Updates between checkpoints; 0 = only at the end.
  int64_t checkpoint_every = 100;
  /// Write TensorBoard events too (needs the tensorboard package).
  bool tensorboard = false;

  bool operator==(const TrainConfig&) const = default;
};

/// Embedding a pool of notes.
struct EmbedConfig {
  /// Most tokens in one forward pass; more is faster and takes more memory.
  int64_t batch_tokens = 4096;
  /// The blocks' matrices meanwhile: `same` as the arithmetic, or `int8` (least memory).
  std::string weights = "same";

  bool operator==(const EmbedConfig&) const = default;
};

/// What is measured, and how surely.
struct EvaluationConfig {
  /// What is compared: tfidf, tfidf_full, bm25, zero_shot_mean, zero_shot_last, zero_shot_prompt,
  /// sentence_bert_zero_shot, sentence_bert (which a sweep trains), cooccurrence (of known notes:
  /// `data.split: users`), trained.
  std::vector<std::string> systems = {"tfidf", "tfidf_full", "zero_shot_mean", "zero_shot_prompt",
                                      "trained"};
  /// Cut-offs of Recall@k.
  std::vector<int64_t> ks = {1, 10, 100, 1000};
  /// Equal scores count as `mean`, `optimistic` or `pessimistic`.
  std::string ties = "mean";
  /// Resamples behind the 95 % intervals.
  int64_t bootstrap_samples = 1000;
  /// Test notes whose category and hashtags are generated; 0 = none.
  int64_t generation_notes = 200;
  /// Share of test notes called low-exposure, in (0, 1].
  double low_share = 0.3;
  /// Share of test notes called high-exposure, in (0, 1].
  double high_share = 0.1;

  bool operator==(const EvaluationConfig&) const = default;
};

/// Writing categories and hashtags.
struct GenerationConfig {
  /// Most tokens written for a note.
  int64_t max_new_tokens = 32;
  /// j: hashtags asked for.
  int64_t hashtag_count = 5;
  /// Most tokens, prompts and output together, decoded at once.
  int64_t batch_tokens = 4096;
  /// Outputs followed at once by beam search; 1: greedy, or drawn.
  int64_t beams = 1;
  /// Beam search compares log p / length ^ length_penalty.
  double length_penalty = 1.0;
  /// Above 0 tokens are drawn, by the run's seed, from logits divided by it.
  double temperature = 0.0;
  /// Tokens are drawn from so many most probable ones; 0: from all.
  int64_t top_k = 0;
  /// Of those, from the fewest most probable ones that sum up to at least it.
  double top_p = 1.0;
  /// Logits of tokens that were there before are made less by it; 1: as they are.
  double repetition_penalty = 1.0;

  bool operator==(const GenerationConfig&) const = default;
};

/// Everything a run depends on. The defaults are the paper's setting on the default data, as
/// composed from python/notellm/conf/config.yaml without overrides (except for the prompt's pieces,
/// which only its file holds).
struct Config {
  /// Of the run.
  std::string name = "run";
  /// The folder it writes to.
  std::string run_dir = "runs/run";
  /// Of everything drawn at random except the split.
  int64_t seed = 0;
  /// 0 = all.
  int64_t threads = 0;
  /// `cpu` or `cuda`.
  std::string device = "cpu";
  /// Of the matrix products: `fp32`, `bf16`, or `auto`: bf16 where the device multiplies it
  /// natively, otherwise fp32. A run folder holds what it became.
  std::string dtype = "auto";
  DataConfig data;
  MiningConfig mining;
  PromptConfig prompt;
  ModelConfig model;
  LossConfig loss;
  LoraConfig lora;
  TrainConfig train;
  EmbedConfig embed;
  EvaluationConfig evaluation;
  GenerationConfig generation;

  bool operator==(const Config&) const = default;
};

/// Reads a resolved configuration: every key exactly once, none unknown, of the right type and in
/// range (fields.h).
///
/// @throws ConfigError `path:line: ...`; unknown keys come with the nearest known one.
Config read_config(const std::string& path);

/// The same for a text; `name` stands for the path in messages and may be empty.
Config parse_config(std::string_view text, const std::string& name);

/// All keys, dotted (`loss.alpha`), in the order of the schema.
std::vector<std::string> config_keys();

/// A sentence that refuses the unknown dotted key and names the nearest known one if one is near:
/// `unknown key loss.alhpa; did you mean loss.alpha?`. Groups (`loss`) are known. Empty if the key
/// is known.
std::string unknown_key(const std::string& key);

}  // namespace notellm
