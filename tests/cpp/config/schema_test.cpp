#include "notellm/config/schema.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "notellm/util/check.h"

namespace notellm {
namespace {

// A complete file; the tests change single lines of it.
constexpr std::string_view kComplete = R"(name: test
run_dir: runs/test
seed: 7
threads: 2
device: cpu
dtype: bf16
data: {source: debian, folder: '', notes: '', interactions: '', groups_column: '', ordered: no,
  split: notes, test_share: 0.25, split_seed: 1, held_out: test, queries: 10, pairs: all, train_pairs: 0, pool_notes: all, pool: 0}
mining: {lower: 0, upper: 2, top: 3, min_users: 1, max_user_events: 0, max_gap_seconds: 0,
  max_gap_events: 0}
prompt: {name: p, slot_lead: ' ', title_tokens: 20, content_tokens: 32, max_hashtags: 10,
  max_hashtag_chars: 16, hashtag_separator: ',', hashtag_count: one,
  topics_in_hashtag_prompt: none, state: at, category: [a, b], hashtags: [c]}
model: {path: m, layers: 0, pooling: mean, dim: 64, tau: 3}
loss:
  contrastive: true
  alpha: 1e-2
  hashtag_share: 0.4
  csft_reduction: token
  mask_same_note: yes
train: {pairs_per_step: 8, micro_pairs: 0, checkpoint_layers: no, shard_optimizer: no, epochs: 1,
  max_steps: 0, lr: 3e-06, lr_head: 0.001, weight_decay: 0, warmup_share: 0.1, clip_norm: 1,
  beta1: 0.9, beta2: 0.99, eps: 1e-08, checkpoint_every: 5, tensorboard: off}
embed: {batch_tokens: 128, weights: same}
evaluation: {systems: [trained], ks: [1, 5], ties: mean, bootstrap_samples: 10, generation_notes: 0, low_share: 0.3,
  high_share: 0.1}
generation: {max_new_tokens: 8, hashtag_count: 2, batch_tokens: 128, beams: 1, length_penalty: 1,
  temperature: 0, top_k: 0, top_p: 1, repetition_penalty: 1}
lora: {r: 8, alpha: 16, dropout: 0.1, targets: [q_proj, up_proj]}
)";

std::string with(const std::string& before, const std::string& after) {
  std::string text(kComplete);
  const size_t at = text.find(before);
  if (at == std::string::npos) throw std::logic_error("the test's text is not in the file");
  return text.replace(at, before.size(), after);
}

std::string complaint(const std::string& text) {
  try {
    parse_config(text, "c.yaml");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(ParseConfig, ReadsEveryType) {
  const Config config = parse_config(kComplete, "c.yaml");
  EXPECT_EQ(config.name, "test");
  EXPECT_EQ(config.seed, 7);
  EXPECT_EQ(config.data.test_share, 0.25);
  EXPECT_FALSE(config.data.ordered);
  EXPECT_EQ(config.model.tau, 3.0);  // an integer where a number is meant
  EXPECT_EQ(config.loss.alpha, 0.01);
  EXPECT_TRUE(config.loss.mask_same_note);
  EXPECT_EQ(config.prompt.category, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(config.evaluation.ks, (std::vector<int64_t>{1, 5}));
}

TEST(ParseConfig, OffersTheNearestNameForAnUnknownKey) {
  EXPECT_EQ(complaint(with("  alpha: 1e-2", "  alhpa: 1e-2")),
            "c.yaml:17: unknown key loss.alhpa; did you mean loss.alpha?");
  EXPECT_EQ(complaint(with("seed: 7", "lr: 7")),
            "c.yaml:3: unknown key lr; did you mean train.lr?");
  EXPECT_EQ(complaint(with("seed: 7", "zebra: 7")), "c.yaml:3: unknown key zebra");
}

TEST(ParseConfig, KnowsWhatCanHaveAnAdapter) {
  EXPECT_EQ(parse_config(kComplete, "").lora.targets,
            (std::vector<std::string>{"q_proj", "up_proj"}));
  EXPECT_EQ(complaint(with("[q_proj, up_proj]", "[q_proj, lm_head]")),
            "c.yaml:29: lora.targets[1] must be q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj "
            "or down_proj, but is 'lm_head'");
  EXPECT_EQ(complaint(with("[q_proj, up_proj]", "[]")),
            "c.yaml:29: lora.targets must not be empty");
  EXPECT_EQ(complaint(with("dropout: 0.1", "dropout: 1")),
            "c.yaml:29: lora.dropout must be below 1, but is 1");
}

TEST(ParseConfig, LeavesTheDtypeToTheMachineWhereItIsAuto) {
  EXPECT_EQ(Config().dtype, "auto");
  for (const std::string name : {"auto", "fp32", "bf16"}) {
    EXPECT_EQ(parse_config(with("dtype: bf16", "dtype: " + name), "").dtype, name);
  }
  EXPECT_EQ(complaint(with("dtype: bf16", "dtype: fp64")),
            "c.yaml:6: dtype must be auto, fp32 or bf16, but is 'fp64'");
}

TEST(ParseConfig, RefusesAMissingKey) {
  EXPECT_EQ(complaint(with("  alpha: 1e-2\n", "")), "c.yaml:16: loss.alpha is missing");
  EXPECT_EQ(complaint(with("embed: {batch_tokens: 128, weights: same}\n", "")),
            "c.yaml:1: embed is missing");
}

TEST(ParseConfig, RefusesAWrongType) {
  EXPECT_EQ(complaint(with("seed: 7", "seed: 7.5")),
            "c.yaml:3: seed must be an integer, but is the number 7.5");
  EXPECT_EQ(complaint(with("seed: 7", "seed: '7'")),
            "c.yaml:3: seed must be an integer, but is the string '7'");
  EXPECT_EQ(complaint(with("  alpha: 1e-2", "  alpha: yes")),
            "c.yaml:17: loss.alpha must be a number, but is true");
  EXPECT_EQ(complaint(with("mask_same_note: yes", "mask_same_note: 1")),
            "c.yaml:20: loss.mask_same_note must be true or false, but is the integer 1");
  EXPECT_EQ(complaint(with("name: test", "name: 12")),
            "c.yaml:1: name must be a string (numbers and words like yes need quotes), but is the "
            "integer 12");
  EXPECT_EQ(complaint(with("embed: {batch_tokens: 128, weights: same}", "embed: 128")),
            "c.yaml:24: embed must be a group of keys, but is the integer 128");
  EXPECT_EQ(complaint(with("[1, 5]", "5")),
            "c.yaml:25: evaluation.ks must be a list, but is the integer 5");
  EXPECT_EQ(complaint(with("[1, 5]", "[1, x]")),
            "c.yaml:25: evaluation.ks[1] must be an integer, but is the string 'x'");
}

TEST(ParseConfig, RefusesAValueOutOfRange) {
  EXPECT_EQ(complaint(with("  alpha: 1e-2", "  alpha: -0.5")),
            "c.yaml:17: loss.alpha must be at least 0, but is -0.5");
  EXPECT_EQ(complaint(with("  alpha: 1e-2", "  alpha: .nan")),
            "c.yaml:17: loss.alpha must be finite, but is nan");
  EXPECT_EQ(complaint(with("test_share: 0.25", "test_share: 1")),
            "c.yaml:8: data.test_share must be below 1, but is 1");
  EXPECT_EQ(complaint(with("eps: 1e-08", "eps: 0")),
            "c.yaml:23: train.eps must be above 0, but is 0");
  EXPECT_EQ(complaint(with("hashtag_share: 0.4", "hashtag_share: 1.25")),
            "c.yaml:18: loss.hashtag_share must be at most 1, but is 1.25");
  EXPECT_EQ(complaint(with("[1, 5]", "[1, 0]")),
            "c.yaml:25: evaluation.ks[1] must be at least 1, but is 0");
  EXPECT_EQ(complaint(with("[1, 5]", "[]")), "c.yaml:25: evaluation.ks must not be empty");
  EXPECT_EQ(complaint(with("device: cpu", "device: gpu")),
            "c.yaml:5: device must be cpu or cuda, but is 'gpu'");
  EXPECT_EQ(complaint(with("ties: mean", "ties: best")),
            "c.yaml:25: evaluation.ties must be mean, optimistic or pessimistic, but is 'best'");
  EXPECT_EQ(complaint(with("path: m", "path: ''")), "c.yaml:14: model.path must not be empty");
}

TEST(ParseConfig, RefusesValuesThatDoNotFitTogether) {
  EXPECT_EQ(complaint(with("source: debian", "source: files")),
            "c.yaml:7: data: source=files needs the files: set notes and interactions");
  EXPECT_EQ(complaint(with("lower: 0", "lower: 5")),
            "c.yaml:9: mining: lower must not be above upper");
  EXPECT_EQ(complaint(with("contrastive: true\n  alpha: 1e-2", "contrastive: no\n  alpha: 0")),
            "c.yaml:16: loss: alpha must be above 0 where contrastive is false");
}

TEST(ReadConfig, NamesAFileItCannotRead) {
  EXPECT_THROW(read_config("/nonexistent/config.yaml"), ConfigError);
}

TEST(ConfigKeys, AreDottedAndInTheFilesOrder) {
  const std::vector<std::string> keys = config_keys();
  EXPECT_EQ(keys[0], "name");
  EXPECT_EQ(std::count(keys.begin(), keys.end(), "loss.alpha"), 1);
  EXPECT_EQ(std::count(keys.begin(), keys.end(), "loss"), 0);
  for (const std::string& key : keys) EXPECT_EQ(unknown_key(key), "");
  EXPECT_EQ(unknown_key("loss"), "");
}

}  // namespace
}  // namespace notellm
