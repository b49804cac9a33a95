#pragma once

#include <array>
#include <utility>

namespace notellm {

/// How prepared weight matrices are stored.
enum class WeightStorage {
  kSame,  ///< in the compute dtype
  kInt8,  ///< int8 with one scale per row (`quantise`); dequantised right before each product
};

constexpr auto names_of(WeightStorage) {
  return std::array{std::pair{"same", WeightStorage::kSame},
                    std::pair{"int8", WeightStorage::kInt8}};
}

}  // namespace notellm
