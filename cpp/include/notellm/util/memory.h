#pragma once

namespace notellm {

/// While such an object exists, freed memory stays with the process instead of going back to the
/// system, so that buffers of the next layer and the next pass need not be mapped and zeroed again:
/// embedding then has less than half the page faults. The destructor of the last such object gives
/// the memory back.
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
