#pragma once

#include <cstdint>
#include <list>

namespace notellm::internal {

/// Which slots of a cache are in use. A block of prompts holds its slots until its last prompt is
/// finished.
class SlotBlocks {
 public:
  struct Block {
    int64_t first, slots;
    int64_t unfinished;  ///< number of prompts still running
  };
  using Handle = std::list<Block>::iterator;

  bool empty() const { return blocks_.empty(); }
  Handle none() { return blocks_.end(); }

  /// Takes the first gap of `wanted` free slots in a cache of `slots`; `none` if there is none.
  Handle reserve(int64_t wanted, int64_t slots) {
    int64_t first = 0;
    for (auto next = blocks_.begin();; ++next) {
      const int64_t end = next == blocks_.end() ? slots : next->first;
      if (end - first >= wanted) return blocks_.insert(next, {first, wanted, 0});
      if (next == blocks_.end()) return none();
      first = next->first + next->slots;
    }
  }

  void finish_one(Handle block) {
    if (--block->unfinished == 0) blocks_.erase(block);
  }

 private:
  std::list<Block> blocks_;  // ascending
};

}  // namespace notellm::internal
