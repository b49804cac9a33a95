#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "notellm/kernels/table.h"
#include "notellm/ops/segments.h"

namespace notellm {

/// Attention over a forest as work items: one a segment that has queries. The same for every layer,
/// so made once.
struct AttentionLayout {
  struct Item {
    int64_t segment;
    int64_t first_query, query_count;  ///< into the three arrays of queries
    int64_t first_range, range_count;  ///< into `ranges`: the segment's chain, root first
    int64_t context;                   ///< tokens of the chain
  };
  std::vector<Item> items;
  std::vector<int64_t> query_rows;    ///< (q) row of the query matrix and of the output
  std::vector<int64_t> query_tokens;  ///< (q) the packed token that asks
  std::vector<int64_t> limits;        ///< (q) tokens of its chain that it sees
  std::vector<kernels::TokenRange> ranges;

  /// By segment: the items whose chain it is part of, with its place in their context.
  struct Use {
    int64_t item;
    int64_t offset;
  };
  std::vector<std::vector<Use>> uses;
  std::vector<int64_t> segment_offsets;  ///< (S + 1)

  int64_t rows() const { return static_cast<int64_t>(query_rows.size()); }
  int64_t tokens() const { return segment_offsets.back(); }
};

/// @param read_rows  distinct tokens whose attention is wanted, in the order of the output rows;
///                   default: every token, in order.
/// @throws std::out_of_range      for a row that is no token.
/// @throws std::invalid_argument  for a row named twice.
AttentionLayout attention_layout(const Segments& segments,
                                 std::optional<std::span<const int64_t>> read_rows = {});

/// Layout of one query an item over keys that are kept elsewhere: `growth_layout`'s item i is the
/// query of row i, which sees the whole of its context and stands at its last token.
///
/// @param contexts  by query, at least one: ranges of the kept rows.
/// @param kept      rows that are kept.
/// @param padding      so many more queries, of no meaning, see the first context's first token.
AttentionLayout growth_layout(std::span<const std::vector<kernels::TokenRange>> contexts,
                              int64_t kept,
                              int64_t padding);

}  // namespace notellm
