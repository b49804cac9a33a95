#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <new>
#include <vector>

namespace notellm {

/// Memory for arrays that are read at random: large ones ask for pages of 2 MiB, of which the
/// processor finds the address far more quickly than of 4 KiB.
template <typename T>
struct LargePages {
  using value_type = T;
  static constexpr std::size_t kPage = std::size_t{1} << 21;

  LargePages() = default;
  template <typename Other>
  LargePages(const LargePages<Other>&) {}  // NOLINT(google-explicit-constructor): an allocator's

  T* allocate(std::size_t count) {
    const std::size_t bytes = count * sizeof(T);
    if (bytes < 2 * kPage) return std::allocator<T>().allocate(count);
    void* const found = std::aligned_alloc(kPage, (bytes + kPage - 1) / kPage * kPage);
    if (found == nullptr) throw std::bad_alloc();
    madvise(found, bytes, MADV_HUGEPAGE);  // where the system refuses, it stays as it is
    return static_cast<T*>(found);
  }

  void deallocate(T* pointer, std::size_t count) {
    if (count * sizeof(T) < 2 * kPage)
      std::allocator<T>().deallocate(pointer, count);
    else
      std::free(pointer);
  }

  bool operator==(const LargePages&) const = default;
};

template <typename T>
using LargeVector = std::vector<T, LargePages<T>>;

}  // namespace notellm
