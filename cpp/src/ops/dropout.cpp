#include "notellm/ops/dropout.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include "tensors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <type_traits>

#include "notellm/ops/on_device.h"
#include "notellm/util/check.h"
#include "notellm/util/random.h"
#include "on_kernels.h"
#include "tensor_checks.h"

namespace notellm {
namespace {

constexpr uint64_t kPrefixStream = 0x70726566;  // separates keys from other uses of the hash
constexpr uint64_t kStep = 0x9E3779B97F4A7C15ULL;
constexpr uint64_t kFactors[] = {0xBF58476D1CE4E5B9ULL, 0x94D049BB133111EBULL};
constexpr int64_t kColumnsOfWord = 4;  // 16 bits each

// The random words of a row: SplitMix64's sequence (Steele, Lea, Flood 2014) from the row's own
// state.
constexpr uint64_t word_of_row(uint64_t row_state, uint64_t number) {
  uint64_t z = row_state + (number + 1) * kStep;
  z = (z ^ (z >> 30)) * kFactors[0];
  z = (z ^ (z >> 27)) * kFactors[1];
  return z ^ (z >> 31);
}

uint64_t row_state(const Dropout& dropout, int64_t key) {
  return random_word(dropout.seed, static_cast<uint64_t>(dropout.site), static_cast<uint64_t>(key),
                     0);
}

// An element is dropped if its 16 bits are below this.
int64_t threshold(double share) {
  return std::clamp<int64_t>(std::llround(share * 65536), 0, 65535);
}

// 1 / (share that is really kept after rounding), so that the expectation is exactly x.
double kept_factor(double share) { return 1.0 / (1.0 - double(threshold(share)) / 65536); }

void check(const at::Tensor& x, const Dropout& dropout) {
  internal::check_floating("drop", "x", x, {internal::kAny, internal::kAny});
  internal::require(dropout.share >= 0 && dropout.share < 1, "drop",
                    "the share dropped must be in [0, 1), but is ", dropout.share);
  internal::check_tensor("drop", "keys", dropout.keys, {x.size(0)}, at::kLong);
  internal::check_device("drop", "keys", dropout.keys, at::kCPU);
}

template <typename Scalar>
void drop_row(const Scalar* x, int64_t width, uint64_t state, const Dropout& dropout, Scalar* out) {
  using Wide = std::conditional_t<std::is_same_v<Scalar, double>, double, float>;
  const Wide factors[] = {0, static_cast<Wide>(kept_factor(dropout.share))};
  const uint64_t limit = threshold(dropout.share);
  // multiplies by a factor from a table: a branch would be mispredicted for every dropped element
  const auto dropped = [&](Scalar value, uint64_t bits) {
    return static_cast<Scalar>(static_cast<Wide>(value) * factors[(bits & 0xFFFF) >= limit]);
  };
  const int64_t whole = width / kColumnsOfWord;
  for (int64_t w = 0; w < whole; ++w, x += kColumnsOfWord, out += kColumnsOfWord) {
    const uint64_t word = word_of_row(state, w);
    for (int64_t c = 0; c < kColumnsOfWord; ++c) out[c] = dropped(x[c], word >> (16 * c));
  }
  const uint64_t word = word_of_row(state, whole);
  for (int64_t c = 0; c < width % kColumnsOfWord; ++c) out[c] = dropped(x[c], word >> (16 * c));
}

// z ^ (z >> bits) with a logical shift (zeros come in), which int64 tensors do not have.
at::Tensor xor_shifted(const at::Tensor& z, int64_t bits) {
  return z.bitwise_xor(z.__rshift__(bits).bitwise_and((int64_t{1} << (64 - bits)) - 1));
}

// (T, n): 1 for what is kept, 0 for what is dropped.
at::Tensor kept_mask(const Dropout& dropout, int64_t width, const at::TensorOptions& options) {
  const int64_t rows = dropout.keys.numel();
  const int64_t words = (width + kColumnsOfWord - 1) / kColumnsOfWord;
  at::Tensor states = at::empty({rows, 1}, at::kLong), steps = at::empty({1, words}, at::kLong);
  const at::Tensor keys = dropout.keys.contiguous();
  for (int64_t row = 0; row < rows; ++row) {
    states.mutable_data_ptr<int64_t>()[row] =
        std::bit_cast<int64_t>(row_state(dropout, keys.const_data_ptr<int64_t>()[row]));
  }
  for (int64_t w = 0; w < words; ++w) {
    steps.mutable_data_ptr<int64_t>()[w] =
        std::bit_cast<int64_t>((static_cast<uint64_t>(w) + 1) * kStep);
  }
  const auto device = options.device();
  at::Tensor z = on_device(states, device) + on_device(steps, device);  // (T, words)
  z = xor_shifted(z, 30) * std::bit_cast<int64_t>(kFactors[0]);
  z = xor_shifted(z, 27) * std::bit_cast<int64_t>(kFactors[1]);
  z = xor_shifted(z, 31);
  const at::Tensor shifts = at::arange(0, 64, 16, z.options());
  const at::Tensor bits = z.unsqueeze(2).__rshift__(shifts).bitwise_and(0xFFFF);  // (T, words, 4)
  return bits.flatten(1).narrow(1, 0, width).ge(threshold(dropout.share)).to(options.dtype());
}

}  // namespace

at::Tensor prefix_keys(std::span<const int64_t> tokens, const Segments& segments) {
  internal::require(std::ssize(tokens) == segments.tokens(), "prefix_keys", "there must be ",
                    segments.tokens(), " tokens as in the forest, but there are ", tokens.size());
  at::Tensor keys = at::empty({segments.tokens()}, at::kLong);
  int64_t* out = keys.mutable_data_ptr<int64_t>();
  for (int64_t s = 0; s < segments.count(); ++s) {
    const int64_t parent = segments.parent(s);
    const int64_t end = segments.begin(s) + segments.length(s);
    uint64_t key = parent < 0 ? 0 : out[segments.begin(parent) + segments.length(parent) - 1];
    for (int64_t t = segments.begin(s); t < end; ++t) {
      key = random_word(key, kPrefixStream, static_cast<uint64_t>(tokens[t]), 0);
      out[t] = std::bit_cast<int64_t>(key);
    }
  }
  return keys;
}

at::Tensor drop(const at::Tensor& x, const Dropout& dropout) {
  check(x, dropout);
  const at::AutoDispatchBelowAutograd no_graph;
  const int64_t width = x.size(1);
  if (!x.is_cpu()) return internal::composed_drop(x, dropout);
  const at::Tensor source = x.contiguous();
  const at::Tensor row_keys = dropout.keys.contiguous();
  at::Tensor out = at::empty_like(source);
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, x.scalar_type(), "drop", [&] {
    const scalar_t* from = source.const_data_ptr<scalar_t>();
    scalar_t* to = out.mutable_data_ptr<scalar_t>();
    const int64_t* keys = row_keys.const_data_ptr<int64_t>();
    at::parallel_for(0, x.size(0), internal::rows_at_once(width), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        drop_row(from + row * width, width, row_state(dropout, keys[row]), dropout,
                 to + row * width);
      }
    });
  });
  return out;
}

namespace internal {

at::Tensor composed_drop(const at::Tensor& x, const Dropout& dropout) {
  check(x, dropout);
  return x * kept_mask(dropout, x.size(1), x.options()) * kept_factor(dropout.share);
}

}  // namespace internal
}  // namespace notellm
