#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace notellm {

/// The tokens of one sequence; a view that owns nothing.
using TokenSpan = std::span<const int32_t>;

struct ForestOptions {
  /// A common prefix becomes a shared segment if it has at least this many tokens beyond its parent
  /// segment; otherwise each sequence keeps its own copy of them. Sharing saves computing tokens
  /// twice, but small segments make attention less efficient.
  int64_t min_shared = 4;
  /// At least this many last tokens of every sequence form a leaf segment of its own, so that it
  /// can grow. 0: a sequence may lie entirely within shared segments.
  int64_t own_tail = 0;
};

/// @param where  begins the message: what the user called.
/// @throws std::invalid_argument  if min_shared is below 1 or own_tail below 0.
void validate(const ForestOptions& options, std::string_view where);

/// n token sequences as the segments of their compressed trie: common prefixes, at any depth, are
/// laid out once.
///
/// Segments are in depth-first order, siblings ascending by their tokens: parents come before
/// children, and all segments below a shared one follow it directly, near in memory when it is
/// read.
struct PrefixForest {
  std::vector<int64_t> tokens;              ///< (T)
  std::vector<int64_t> segment_offsets{0};  ///< (S+1) segment s is [offsets[s], offsets[s + 1])
  std::vector<int64_t> segment_parents;     ///< (S) -1 or a smaller segment number
  /// (n) index into tokens: the sequence's last token; if own_tail is 0 it may be anywhere in its
  /// segment. The path from the root to it is the whole sequence (`path_to`). -1: an empty
  /// sequence.
  std::vector<int64_t> last;
};

/// Builds the forest of some sequences.
///
/// With own_tail 0, equal sequences end at the same token, and a sequence that is a prefix of
/// another ends within it. With min_shared 1 and own_tail 0 there are as many tokens as nodes in
/// the trie.
///
/// @throws std::invalid_argument  if the options are not valid (see `validate`).
///
/// Cost: O(N log n) for N tokens in n sequences; one thread. Depends on its arguments only.
PrefixForest prefix_forest(std::span<const TokenSpan> sequences, const ForestOptions& options = {});

/// The indices of the sequences in the order in which a forest lays them out: sorted by the tokens
/// that may be shared (all but the `own_tail` last ones), then by the rest, equal ones by index. No
/// other order gives neighbours longer common prefixes. Cost: O(N log n).
std::vector<int64_t> prefix_order(std::span<const TokenSpan> sequences, int64_t own_tail = 0);

/// The length of the common prefix of two sequences, without their `own_tail` last tokens.
int64_t shared_prefix(TokenSpan a, TokenSpan b, int64_t own_tail = 0);

/// The segment that a packed token lies in. Cost: O(log S).
int64_t segment_of(std::span<const int64_t> segment_offsets, int64_t token);

/// Checks what `path_to` relies on, in O(S).
/// @throws std::invalid_argument  unless the offsets ascend from 0 and parents come before their
///                                segments; std::out_of_range for a token outside the forest.
void check_path(std::string_view where,
                std::span<const int64_t> segment_offsets,
                std::span<const int64_t> segment_parents,
                int64_t token);

/// A path of a forest: the indices of the packed tokens from the root's first to `token`; element p
/// is the token at position p. Cost: O(length of the path + log S).
std::vector<int64_t> path_to(std::span<const int64_t> segment_offsets,
                             std::span<const int64_t> segment_parents,
                             int64_t token);

}  // namespace notellm
