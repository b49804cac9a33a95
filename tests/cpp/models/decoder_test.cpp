#include "notellm/models/decoder.h"
#include <c10/core/GradMode.h>
#include "tensors.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "notellm/kernels/instruction_set.h"
#include "notellm/models/cache.h"
#include "notellm/util/check.h"

namespace notellm {
namespace {

DecoderConfig small_config() {
  DecoderConfig config;
  config.width = 12;
  config.inner_width = 20;
  config.layers = 2;
  config.heads = 4;
  config.key_heads = 2;
  config.vocabulary = 31;
  config.rope.head_dim = 6;
  return config;
}

DecoderWeights random_weights(const DecoderConfig& c) {
  const auto matrix = [](int64_t rows, int64_t columns) {
    return at::randn({rows, columns}, at::kDouble) * 0.3;
  };
  DecoderWeights weights{matrix(c.vocabulary, c.width), {}, at::rand({c.width}, at::kDouble) + 0.5};
  for (int64_t l = 0; l < c.layers; ++l) {
    LayerWeights w;
    w.input_norm = at::rand({c.width}, at::kDouble) + 0.5;
    w.post_norm = at::rand({c.width}, at::kDouble) + 0.5;
    w.query = matrix(c.heads * c.rope.head_dim, c.width);
    w.key = matrix(c.key_heads * c.rope.head_dim, c.width);
    w.value = matrix(c.key_heads * c.rope.head_dim, c.width);
    w.output = matrix(c.width, c.heads * c.rope.head_dim);
    w.gate = matrix(c.inner_width, c.width);
    w.up = matrix(c.inner_width, c.width);
    w.down = matrix(c.width, c.inner_width);
    weights.layers.push_back(w);
  }
  return weights;
}

at::Tensor states_of(const at::Tensor& tokens,
                     const Segments& segments,
                     const DecoderWeights& weights,
                     at::ScalarType dtype = at::kDouble) {
  const DecoderConfig config = small_config();
  const DecoderPlan plan = plan_decoder(segments, config, dtype, at::kCPU);
  return decoder_states(tokens, weights, config, plan);
}

// Leaves that grow token by token behind cached prompts, against all tokens in one pass.
void expect_growth_equals_one_pass(at::ScalarType dtype,
                                   double tolerance,
                                   const DecoderWeights& weights) {
  const DecoderConfig config = small_config();
  // a root of 3, children of 4 and 2; the children then grow by two tokens each
  const at::Tensor root = at::randint(31, {3}, at::kLong);
  const at::Tensor first = at::randint(31, {6}, at::kLong),
                   second = at::randint(31, {4}, at::kLong);
  const at::Tensor whole = states_of(at::cat({root, first, second}),
                                     Segments({0, 3, 9, 13}, {-1, 0, 0}), weights, dtype);

  const Segments segments({0, 3, 7, 9}, {-1, 0, 0});
  const at::Tensor prompt = at::cat({root, first.slice(0, 0, 4), second.slice(0, 0, 2)});
  constexpr int64_t kFirst = 5;  // slots before it are somebody else's
  DecoderCache cache = make_cache(config, kFirst + 13, dtype, at::kCPU);
  for (at::Tensor& rows : cache.layers) rows.fill_(std::numeric_limits<double>::quiet_NaN());
  place(cache, kFirst, std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 3, 4, 7, 8, 5, 6}, config);
  const DecoderPlan plan =
      with_slots(plan_decoder(segments, config, dtype, at::kCPU), kFirst, at::kCPU);
  decoder_states(prompt, weights, config, plan, &cache.layers);
  for (int64_t i = 0; i < 2; ++i) {
    const std::vector<std::vector<kernels::TokenRange>> paths{
        {{kFirst, 3}, {kFirst + 7, 2}, {kFirst + 11, i + 1}},
        {{kFirst, 3}, {kFirst + 3, 4}, {kFirst + 9, i + 1}}};
    const DecoderPlan growth = plan_decoding_step(paths, cache, dtype);
    const at::Tensor tokens = at::stack({second[2 + i], first[4 + i]});
    const at::Tensor states = decoder_states(tokens, weights, config, growth, &cache.layers);
    EXPECT_TRUE(at::allclose(states[0], whole[11 + i], 0, tolerance));
    EXPECT_TRUE(at::allclose(states[1], whole[7 + i], 0, tolerance));
  }
}

class Decoder : public testing::Test {
 protected:
  void SetUp() override {
    at::manual_seed(5);
    weights_ = random_weights(small_config());
  }
  DecoderWeights weights_;
};

TEST_F(Decoder, CuttingASequenceIntoSegmentsChangesNothing) {
  const at::Tensor tokens = at::randint(31, {11}, at::kLong);
  const at::Tensor whole = states_of(tokens, Segments({0, 11}, {-1}), weights_);
  const at::Tensor cut = states_of(tokens, Segments({0, 3, 4, 11}, {-1, 0, 1}), weights_);
  EXPECT_TRUE(at::allclose(whole, cut, 0, 1e-12));
}

TEST_F(Decoder, GrowingLeavesTokenByTokenEqualsOnePass) {
  for (const auto& [dtype, tolerance] : {std::pair(at::kDouble, 1e-12), std::pair(at::kFloat, 1e-4),
                                         std::pair(at::kBFloat16, 0.15)}) {
    expect_growth_equals_one_pass(dtype, tolerance, weights_);
  }
}

// As on a GPU without gradients, with products of matrices in flash attention's place.
TEST_F(Decoder, AttentionMayBeMergedFromPrefixes) {
  const c10::AutoGradMode no_grad(false);
  const at::Tensor tokens = at::randint(31, {13}, at::kLong);
  const Segments segments({0, 3, 4, 9, 13}, {-1, 0, 0, 1});
  const at::Tensor expected = states_of(tokens, segments, weights_);
  set_instruction_set("none");
  const DecoderConfig config = small_config();
  DecoderPlan plan = plan_decoder(segments, config, at::kDouble, at::kCPU);
  plan.composed_attention = {};
  plan.composed_attention.levels = prefix_levels(segments, at::kCPU);
  const at::Tensor actual = decoder_states(tokens, weights_, config, plan);
  set_instruction_set("");
  EXPECT_TRUE(at::allclose(actual, expected, 0, 1e-12));
}

TEST_F(Decoder, RefusesADtypeItHasNoKernelsFor) {
  EXPECT_THROW(plan_decoder(Segments({0, 1}, {-1}), small_config(), at::kHalf, at::kCPU),
               std::invalid_argument);
}

}  // namespace
}  // namespace notellm
