#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace notellm {

/// The tokens of one sequence, kept elsewhere.
using TokenSpan = std::span<const int32_t>;

struct ForestOptions {
  /// Sequences that part after a common prefix share it as a segment if it holds at least so many
  /// tokens beyond its parent segment; otherwise each keeps its own copy of them. Small segments
  /// make attention less efficient, yet a token shared is one computed less.
  int64_t min_shared = 4;
  /// So many last tokens of every sequence, at least, are a leaf segment of its own, so that it can
  /// grow. 0: a sequence may lie within shared segments altogether.
  int64_t own_tail = 0;
};

/// @throws std::invalid_argument  if min_shared is below 1 or own_tail below 0.
void validate(const ForestOptions& options);

/// n token sequences as the segments of their compressed trie: prefixes that sequences have in
/// common, of any depth, are laid out once.
///
/// Segments stand in depth-first order, siblings ascending by their tokens: parents before
/// children, and what shares a segment lies together behind it, near in memory when it is read.
struct PrefixForest {
  std::vector<int64_t> tokens;              ///< (T)
  std::vector<int64_t> segment_offsets{0};  ///< (S+1) segment s is [offsets[s], offsets[s + 1])
  std::vector<int64_t> segment_parents;     ///< (S) -1 or a smaller segment number
  /// (n) index into tokens: the sequence's last token, at any place of its segment where own_tail
  /// is 0. The path that leads there is the whole sequence (`path_to`). -1: an empty sequence.
  std::vector<int64_t> last;
};

/// Builds the forest of some sequences.
///
/// With own_tail 0, equal sequences end at the same token, and one that begins another ends within
/// it. With min_shared 1 and own_tail 0 there are as many tokens as the trie has nodes.
///
/// @throws std::invalid_argument  if the options are not valid (see `validate`).
///
/// Cost: O(N log n) for N tokens in n sequences; one thread. Depends on its arguments only.
PrefixForest prefix_forest(std::span<const TokenSpan> sequences, const ForestOptions& options = {});

/// The numbers of sequences in the order in which a forest meets them: ascending by what may be
/// shared (all but the `own_tail` last tokens), then by the rest, equal ones by their number. No
/// order puts longer common prefixes side by side. Cost: O(N log n).
std::vector<int64_t> prefix_order(std::span<const TokenSpan> sequences, int64_t own_tail = 0);

/// How many first tokens two sequences have in common, their `own_tail` last ones left out.
int64_t shared_prefix(TokenSpan a, TokenSpan b, int64_t own_tail = 0);

/// The segment that a packed token lies in. Cost: O(log S).
int64_t segment_of(std::span<const int64_t> segment_offsets, int64_t token);

/// What `path_to` takes for granted, O(S).
/// @throws std::invalid_argument  unless the offsets ascend from 0 and parents come before their
///                                segments; std::out_of_range for a token outside the forest.
void check_path(std::string_view where,
                std::span<const int64_t> segment_offsets,
                std::span<const int64_t> segment_parents,
                int64_t token);

/// Reads a path of a forest: the indices of the packed tokens from the root's first to `token`; the
/// one at position p comes p-th. Cost: O(length of the path + log S).
std::vector<int64_t> path_to(std::span<const int64_t> segment_offsets,
                             std::span<const int64_t> segment_parents,
                             int64_t token);

}  // namespace notellm
