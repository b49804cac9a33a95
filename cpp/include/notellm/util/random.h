#pragma once

#include <cstdint>
#include <initializer_list>

namespace notellm {

/// A counter-based random word: the same for the same five numbers on every machine, thread count
/// and call order.
///
/// SplitMix64's finaliser (Steele, Lea, Flood 2014) chained over the inputs. `stream` separates
/// uses that share the other numbers.
constexpr uint64_t random_word(
    uint64_t seed, uint64_t stream, uint64_t epoch, uint64_t position, uint64_t draw = 0) {
  uint64_t state = 0x9E3779B97F4A7C15ULL;
  for (const uint64_t part : {seed, stream, epoch, position, draw}) {
    state = (state ^ part) + 0x9E3779B97F4A7C15ULL;
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9ULL;
    state = (state ^ (state >> 27)) * 0x94D049BB133111EBULL;
    state ^= state >> 31;
  }
  return state;
}

/// A number in [0, count) from a random word (multiply-shift; the bias is below count / 2^64).
/// count >= 1.
constexpr uint64_t random_below(uint64_t word, uint64_t count) {
  __extension__ using uint128 = unsigned __int128;
  return static_cast<uint64_t>((static_cast<uint128>(word) * count) >> 64);
}

}  // namespace notellm
