#include "notellm/prompts/prefix_forest.h"

#include <algorithm>
#include <compare>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "notellm/prompts/tokens.h"
#include "notellm/util/check.h"

namespace notellm {
namespace {

// The tokens that a sequence may share with others.
TokenSpan body(TokenSpan sequence, int64_t own_tail) {
  return sequence.first(sequence.size() - std::min<size_t>(own_tail, sequence.size()));
}

std::strong_ordering compare(TokenSpan a, TokenSpan b) {
  return std::lexicographical_compare_three_way(a.begin(), a.end(), b.begin(), b.end());
}

// Lays out the trie of sequences, top down; none of them is a prefix of another.
//
// A group is a run of sequences, in prefix order, that share a segment which is not laid out yet;
// or a single sequence, whose rest is a leaf. Every level of a group uses up at least min_shared
// tokens of each of its sequences, so that all scans of `shared_` together take O(tokens).
class TrieBuilder {
 public:
  // leaves: sequences in prefix order, each with at least one token that it does not share;
  // shared[i]: how many tokens leaves i - 1 and i may share.
  TrieBuilder(std::span<const TokenSpan> leaves,
              std::span<const int64_t> shared,
              int64_t min_shared)
      : leaves_(leaves), shared_(shared), min_shared_(min_shared), last_(leaves.size()) {
    push_groups({0, std::ssize(leaves), 0, -1});
    while (!waiting_.empty()) {
      const Group group = waiting_.back();
      waiting_.pop_back();
      lay_out(group);
    }
  }

  PrefixForest& forest() { return forest_; }

  int64_t last(int64_t leaf) const { return last_[leaf]; }
  int64_t start(int64_t segment) const { return starts_[segment]; }

 private:
  struct Group {
    int64_t begin, end;  // leaves
    int64_t depth;       // tokens that are laid out already: where the parent segment ends
    int64_t parent;
  };

  void lay_out(const Group& group) {
    const TokenSpan sequence = leaves_[group.begin];
    if (group.end - group.begin == 1) {
      add_segment(sequence.subspan(group.depth), group);
      last_[group.begin] = forest_.segment_offsets.back() - 1;
      return;
    }
    const auto inner = shared_.subspan(group.begin + 1, group.end - group.begin - 1);
    const int64_t depth = *std::min_element(inner.begin(), inner.end());
    const int64_t segment = add_segment(sequence.subspan(group.depth, depth - group.depth), group);
    push_groups({group.begin, group.end, depth, segment});
  }

  // Cuts the leaves below one parent into groups, wherever neighbours share too little beyond it.
  // The first group is popped first.
  void push_groups(const Group& all) {
    int64_t end = all.end;
    for (int64_t i = all.end - 1; i > all.begin; --i) {
      if (shared_[i] >= all.depth + min_shared_) continue;
      waiting_.push_back({i, end, all.depth, all.parent});
      end = i;
    }
    if (end > all.begin) waiting_.push_back({all.begin, end, all.depth, all.parent});
  }

  int64_t add_segment(TokenSpan tokens, const Group& group) {
    forest_.tokens.insert(forest_.tokens.end(), tokens.begin(), tokens.end());
    forest_.segment_offsets.push_back(std::ssize(forest_.tokens));
    forest_.segment_parents.push_back(group.parent);
    starts_.push_back(group.depth);
    return std::ssize(forest_.segment_parents) - 1;
  }

  std::span<const TokenSpan> leaves_;
  std::span<const int64_t> shared_;
  const int64_t min_shared_;
  std::vector<Group> waiting_;
  PrefixForest forest_;
  std::vector<int64_t> starts_;  // by segment: the position of its first token
  std::vector<int64_t> last_;    // by leaf
};

}  // namespace

void validate(const ForestOptions& options, std::string_view where) {
  const internal::Require require(where);
  require(options.min_shared >= 1, "min_shared must be at least 1, but is ", options.min_shared);
  require(options.own_tail >= 0, "own_tail must be at least 0, but is ", options.own_tail);
}

int64_t shared_prefix(TokenSpan a, TokenSpan b, int64_t own_tail) {
  const TokenSpan body_a = body(a, own_tail), body_b = body(b, own_tail);
  return std::ranges::mismatch(body_a, body_b).in1 - body_a.begin();
}

std::vector<int64_t> prefix_order(std::span<const TokenSpan> sequences, int64_t own_tail) {
  std::vector<int64_t> order(sequences.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    auto compared = compare(body(sequences[a], own_tail), body(sequences[b], own_tail));
    if (compared == 0) compared = compare(sequences[a], sequences[b]);
    return compared != 0 ? compared < 0 : a < b;
  });
  return order;
}

PrefixForest prefix_forest(std::span<const TokenSpan> sequences, const ForestOptions& options) {
  validate(options, "prefix_forest");
  std::vector<int64_t> order = prefix_order(sequences, options.own_tail);
  std::erase_if(order, [&](int64_t i) { return sequences[i].empty(); });
  const auto shared_with_next = [&](size_t i) {
    return shared_prefix(sequences[order[i]], sequences[order[i + 1]], options.own_tail);
  };

  // A sequence that is a prefix of another is a prefix of the next one in order; it needs no leaf.
  std::vector<TokenSpan> leaves;
  std::vector<int64_t> shared;
  std::vector<int64_t> leaf_of;  // by place in the order: the first leaf from there on
  int64_t common = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const TokenSpan sequence = sequences[order[i]];
    const int64_t next = i + 1 < order.size() ? shared_with_next(i) : 0;
    leaf_of.push_back(std::ssize(leaves));
    if (next == std::ssize(sequence)) continue;
    shared.push_back(common);
    leaves.push_back(sequence);
    common = next;
  }

  TrieBuilder trie(leaves, shared, options.min_shared);
  PrefixForest& forest = trie.forest();
  forest.last.assign(sequences.size(), -1);
  for (size_t i = 0; i < order.size(); ++i) {
    const int64_t end = trie.last(leaf_of[i]);
    int64_t segment = segment_of(forest.segment_offsets, end);
    const int64_t position = std::ssize(sequences[order[i]]) - 1;
    while (trie.start(segment) > position) segment = forest.segment_parents[segment];
    forest.last[order[i]] = forest.segment_offsets[segment] + position - trie.start(segment);
  }
  return std::move(forest);
}

int64_t segment_of(std::span<const int64_t> segment_offsets, int64_t token) {
  return std::ranges::upper_bound(segment_offsets, token) - segment_offsets.begin() - 1;
}

void check_path(std::string_view where,
                std::span<const int64_t> segment_offsets,
                std::span<const int64_t> segment_parents,
                int64_t token) {
  const internal::Require require(where);
  const int64_t count = std::ssize(segment_parents);
  require(std::ssize(segment_offsets) == count + 1,
          "offsets must be one more than parents, but are ", segment_offsets.size(), " and ",
          count);
  check_offsets(where, segment_offsets, segment_offsets.back());
  for (int64_t s = 0; s < count; ++s) {
    require(segment_parents[s] >= -1 && segment_parents[s] < s, "the parent of segment ", s,
            " must be -1 or an earlier segment, but is ", segment_parents[s]);
  }
  if (token >= 0 && token < segment_offsets.back()) return;
  internal::throw_error<std::out_of_range>(where, "the token must be in [0, ",
                                           segment_offsets.back(), "), but is ", token);
}

std::vector<int64_t> path_to(std::span<const int64_t> segment_offsets,
                             std::span<const int64_t> segment_parents,
                             int64_t token) {
  std::vector<int64_t> path;
  int64_t last = token;  // goes backwards through the path's segments, from last token to first
  for (int64_t s = segment_of(segment_offsets, token); s >= 0; s = segment_parents[s]) {
    for (int64_t t = last; t >= segment_offsets[s]; --t) path.push_back(t);
    if (segment_parents[s] >= 0) last = segment_offsets[segment_parents[s] + 1] - 1;
  }
  std::reverse(path.begin(), path.end());
  return path;
}

}  // namespace notellm
