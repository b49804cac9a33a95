#pragma once

#include <array>
#include <utility>

namespace notellm {

/// How prepared matrices are kept.
enum class WeightStorage {
  kSame,  ///< in the compute dtype
  kInt8,  ///< int8 with a scale a row (`quantise`); widened right before each product
};

constexpr auto names_of(WeightStorage) {
  return std::array{std::pair{"same", WeightStorage::kSame},
                    std::pair{"int8", WeightStorage::kInt8}};
}

}  // namespace notellm
