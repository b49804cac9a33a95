#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace notellm {

/// A segment forest: T packed tokens cut into S segments, each with a parent or none.
///
/// A segment attends causally to itself and fully to its ancestors; its positions continue from its
/// parent's end. For example, a shared instruction is a root, a note its child, and a note being
/// decoded a leaf that grows: packing, shared prefixes and the KV cache are one concept. The path
/// from a root to a segment's end is one ordinary sequence.
class Segments {
 public:
  /// @param offsets  (S + 1) ascending from 0; segment s is the tokens
  ///                 [offsets[s], offsets[s + 1]), at least one.
  /// @param parents  (S) index of the parent, smaller than the segment's own, or -1 for a root.
  /// @throws std::invalid_argument  if one of these conditions does not hold.
  Segments(std::vector<int64_t> offsets, std::vector<int64_t> parents);

  int64_t count() const { return static_cast<int64_t>(parents_.size()); }
  int64_t tokens() const { return offsets_.back(); }
  int64_t begin(int64_t s) const { return offsets_[s]; }
  int64_t length(int64_t s) const { return offsets_[s + 1] - offsets_[s]; }
  int64_t parent(int64_t s) const { return parents_[s]; }

  /// Position of the segment's first token = number of tokens of all its ancestors.
  int64_t start(int64_t s) const { return starts_[s]; }

  /// The segment's ancestors, root first, then itself.
  std::vector<int64_t> chain(int64_t s) const;

  /// The same forest with one more root of `length` tokens at its end; unchanged if `length` is 0.
  Segments with_root(int64_t length) const;

  /// (T) int64 on the CPU: every token's position in the sequence from its root.
  at::Tensor positions() const;

  /// (T, T) bool on the CPU, true where the row's token may attend to the column's: the slow
  /// definition that tests compare with.
  at::Tensor mask() const;

 private:
  std::vector<int64_t> offsets_;
  std::vector<int64_t> parents_;
  std::vector<int64_t> starts_;
};

}  // namespace notellm
