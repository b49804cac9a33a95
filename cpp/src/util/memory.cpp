#include "notellm/util/memory.h"

#include <atomic>
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace notellm {
namespace {

std::atomic<int> living{0};

}  // namespace

#ifdef __GLIBC__
// 32 MiB is glibc's maximum for M_MMAP_THRESHOLD: larger blocks are always mapped separately.
KeepsFreedMemory::KeepsFreedMemory() {
  if (living++ > 0) return;
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

// glibc adapts the trim threshold up to 64 MiB; the calls above switch this adaptation off.
KeepsFreedMemory::~KeepsFreedMemory() {
  if (--living > 0) return;
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  malloc_trim(0);
}
#else
KeepsFreedMemory::KeepsFreedMemory() { ++living; }
KeepsFreedMemory::~KeepsFreedMemory() { --living; }
#endif

}  // namespace notellm
