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
// 32 MiB is the most that glibc takes for the first: larger blocks are mapped one by one.
KeepsFreedMemory::KeepsFreedMemory() {
  if (living++ > 0) return;
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

// 64 MiB is where glibc's own adaptation ends, which the calls above switch off.
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
