#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "notellm/ops/segments.h"

namespace notellm {

/// Runs of queries, each with the keys that all of it sees (or sees causally), one after the other,
/// as variable-length attention needs them. Run r is the queries
/// [query_offsets[r], query_offsets[r + 1]) of `query_rows`, and likewise the keys.
struct AttentionRuns {
  at::Tensor query_rows, key_rows;        ///< int64 rows; undefined: all rows, in order
  at::Tensor query_offsets, key_offsets;  ///< (runs + 1) int32
  int64_t longest_queries = 0, longest_keys = 0;
};

/// A forest's segments, each with its context: the keys of all its ancestors, and of its own
/// tokens, which are the last. On `device`; costs 8 bytes per context token.
AttentionRuns context_runs(const Segments& segments, at::Device device);

}  // namespace notellm
