#pragma once

namespace notellm {

/// While one of these lives, memory that is freed stays with the process instead of going back to
/// the system, so that the next layer's and the next pass's buffers need not be mapped and zeroed
/// again: embedding then has less than half the page faults. The last one to go gives the memory
/// back.
///
/// May be nested. Works with glibc's allocator; elsewhere it does nothing.
class KeepsFreedMemory {
 public:
  KeepsFreedMemory();
  ~KeepsFreedMemory();
  KeepsFreedMemory(const KeepsFreedMemory&) = delete;
  KeepsFreedMemory& operator=(const KeepsFreedMemory&) = delete;
};

}  // namespace notellm
