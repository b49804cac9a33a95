#pragma once

#include <vector>

#include "notellm/prompts/tokens.h"

namespace notellm {

inline TokenLists token_lists(const std::vector<std::vector<int32_t>>& values) {
  TokenLists made;
  for (const auto& value : values) made.push_back(value);
  return made;
}

}  // namespace notellm
