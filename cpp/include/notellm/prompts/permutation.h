#pragma once

#include <bit>
#include <cstdint>

#include "notellm/util/random.h"

namespace notellm {

/// Element `position` of a pseudo-random permutation of 0 ... count - 1; each (seed, stream, epoch)
/// has its own permutation. Needs no memory and no state: any element can be asked for at any time.
///
/// A Feistel network permutes the numbers below the smallest power of 4 that is at least `count`; a
/// result that is not below `count` is permuted again until it is (cycle walking: under four rounds
/// on average). 0 <= position < count.
constexpr uint64_t permuted(
    uint64_t position, uint64_t count, uint64_t seed, uint64_t stream, uint64_t epoch) {
  const int half_bits = count <= 4 ? 1 : (std::bit_width(count - 1) + 1) / 2;
  const uint64_t mask = (uint64_t{1} << half_bits) - 1;
  do {
    uint64_t left = position >> half_bits;
    uint64_t right = position & mask;
    for (uint64_t round = 0; round < 6; ++round) {
      const uint64_t next = left ^ (random_word(seed, stream, epoch, right, round) & mask);
      left = right;
      right = next;
    }
    position = left << half_bits | right;
  } while (position >= count);
  return position;
}

}  // namespace notellm
