#include "notellm/generation/next_token.h"

#include "tensors.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "notellm/ops/on_device.h"
#include "notellm/util/random.h"

namespace notellm {
namespace {

constexpr uint64_t kPromptStream = 0x70726f6d7074, kDrawStream = 0x64726177;

// Indices of the tokens into the flattened logits.
at::Tensor flat_index(const at::Tensor& logits, std::span<const std::vector<int32_t>> tokens) {
  std::vector<int64_t> index;
  for (size_t row = 0; row < tokens.size(); ++row) {
    const int64_t first = static_cast<int64_t>(row) * logits.size(1);
    for (const int32_t token : tokens[row]) index.push_back(first + token);
  }
  return on_device(index, logits.device());
}

// The tokens that may be drawn, by row: their probabilities (not normalised) and their ids. If
// `ids` is undefined: all tokens, in order.
struct Pool {
  at::Tensor probabilities, ids;  // (n, c) fp64 and int64
};

// Top-p: the fewest most probable tokens whose probabilities sum up to at least p, by row.
Pool nucleus(const at::Tensor& probabilities, double p) {
  const int64_t vocabulary = probabilities.size(1);
  for (int64_t count = std::min<int64_t>(256, vocabulary);;
       count = std::min(8 * count, vocabulary)) {
    const auto [top, ids] = probabilities.topk(count, 1);  // descending
    const at::Tensor sums = top.cumsum(1, at::kDouble);
    if (count < vocabulary && sums.select(1, count - 1).min().item<double>() < p) continue;
    const at::Tensor kept = (sums - top) < p;  // the token that reaches p is included
    return {top.to(at::kDouble) * kept, ids};
  }
}

Pool pool_of(const at::Tensor& logits, const DecodingOptions& options) {
  at::Tensor scaled = (logits - logits.amax(1, true)) / options.temperature, ids;
  if (options.top_k > 0 && options.top_k < logits.size(1)) {
    std::tie(scaled, ids) = scaled.topk(options.top_k, 1);
  }
  if (options.top_p >= 1) return {scaled.softmax(1, at::kDouble), ids};
  Pool pool = nucleus(scaled.softmax(1), options.top_p);
  if (ids.defined()) pool.ids = ids.gather(1, pool.ids);
  return pool;
}

}  // namespace

double uniform_of(uint64_t seed, TokenSpan prompt, int64_t place) {
  uint64_t key = prompt.size();
  for (const int32_t token : prompt) key = random_word(key, kPromptStream, 0, token);
  // only 40 bits, so that its product with a sum of probabilities stays below that sum
  return static_cast<double>(random_word(seed, kDrawStream, key, place) >> 24) * 0x1p-40;
}

void penalise_repetition(at::Tensor& logits,
                         std::span<const std::vector<int32_t>> seen,
                         double penalty) {
  if (penalty == 1) return;
  const at::Tensor index = flat_index(logits, seen);
  at::Tensor flat = logits.view({-1});
  const at::Tensor before = flat.index_select(0, index);
  flat.index_copy_(0, index, at::where(before < 0, before * penalty, before / penalty));
}

at::Tensor keep_allowed(const at::Tensor& logits, std::span<const std::vector<int32_t>> allowed) {
  const at::Tensor index = flat_index(logits, allowed);
  at::Tensor kept = at::full_like(logits, -std::numeric_limits<double>::infinity());
  kept.view({-1}).index_copy_(0, index, logits.reshape({-1}).index_select(0, index));
  return kept;
}

at::Tensor draw_tokens(const at::Tensor& logits,
                       std::span<const double> uniforms,
                       const DecodingOptions& options) {
  constexpr int64_t kRows = 64;  // at a time: probabilities of all tokens in fp64 are large
  std::vector<at::Tensor> parts;
  for (int64_t row = 0; row < logits.size(0); row += kRows) {
    const int64_t count = std::min(kRows, logits.size(0) - row);
    const Pool pool = pool_of(logits.narrow(0, row, count), options);
    const at::Tensor sums = pool.probabilities.cumsum(1);
    const at::ArrayRef<double> own(uniforms.data() + row, count);
    const at::Tensor shares = on_device(at::tensor(own, at::kDouble), sums.device());
    const at::Tensor wanted = (shares * sums.select(1, sums.size(1) - 1)).unsqueeze(1);
    // the first token whose sum exceeds the number: never one with probability 0
    const at::Tensor place = at::searchsorted(sums, wanted, false, /*right=*/true);
    parts.push_back((pool.ids.defined() ? pool.ids.gather(1, place) : place).squeeze(1));
  }
  return at::cat(parts);
}

}  // namespace notellm
