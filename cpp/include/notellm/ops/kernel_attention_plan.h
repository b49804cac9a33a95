#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "notellm/kernels/table.h"
#include "notellm/ops/segments.h"

namespace notellm {

/// Attention over a forest as work items for the CPU loops (`segment_attention`): one for each
/// segment that has queries. The same for every layer, so it is made once.
struct KernelAttentionPlan {
  struct Item {
    int64_t segment;
    int64_t first_query, query_count;  ///< into the three arrays by query below
    int64_t first_range, range_count;  ///< into `ranges`: the segment's chain, root first
    int64_t context;                   ///< tokens of the chain
  };
  std::vector<Item> items;
  std::vector<int64_t> query_rows;    ///< (q) row of the query matrix and of the output
  std::vector<int64_t> query_tokens;  ///< (q) the packed token that the query belongs to
  std::vector<int64_t> limits;        ///< (q) how many tokens of its chain it sees
  std::vector<kernels::TokenRange> ranges;

  /// By segment: the items whose chain contains it, with its offset in their context.
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
/// @throws std::out_of_range      if a row is not the index of a token.
/// @throws std::invalid_argument  if a row is named twice.
KernelAttentionPlan plan_kernel_attention(const Segments& segments,
                                          std::optional<std::span<const int64_t>> read_rows = {});

/// Plan of a decoding step over cached keys, with one query per item: item i is the query of row
/// i, which sees its whole context and stands at the context's last token.
///
/// @param contexts  for each query (at least one) ranges of cached rows.
/// @param kept      number of cached rows.
/// @param padding   number of padding queries to add; they see only the first token of the first
///                  context.
KernelAttentionPlan plan_kernel_decoding_step(
    std::span<const std::vector<kernels::TokenRange>> contexts, int64_t kept, int64_t padding);

}  // namespace notellm
