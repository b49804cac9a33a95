#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "notellm/ops/attention_runs.h"
#include "notellm/ops/segments.h"

namespace notellm {

/// A forest's attention in parts, whose softmaxes are merged: every segment's with itself, and
/// then, depth by depth, that of all descendants of a segment with that segment. So the keys of a
/// shared prefix are read where they lie, by one run of queries, and are never copied for each of
/// its descendants, as `context_runs` has it.
struct PrefixLevels {
  AttentionRuns own;                 ///< causal, by segment
  std::vector<AttentionRuns> above;  ///< by depth: the segments there that have descendants
};

/// Cost: O(T + rows of all levels) time and memory, where a token is a query once for each of its
/// segment's ancestors.
PrefixLevels prefix_levels(const Segments& segments, at::Device device);

/// Softmax attention over a forest, scaled by 1 / sqrt(E), like `composed_attention`, but part by
/// part. With parts p of a query's keys, whose outputs are o_p and log-sum-exps of scores l_p:
///
///   l = log sum_p exp(l_p),   o = sum_p exp(l_p - l) o_p
///
/// The parts are flash attention's where `takes_flash_attention`, otherwise products of matrices;
/// they are merged in fp32 (fp64 for fp64). Without a gradient, since flash attention has none for
/// its log-sums. No GPU has run this yet.
///
/// @param queries       (T, H, E), rotated; H a multiple of K.
/// @param keys, values  (T, K, E); keys rotated.
/// @return              (T, H * E) in the queries' dtype.
/// @throws std::invalid_argument  if a gradient is wanted.
at::Tensor prefix_attention(const at::Tensor& queries,
                            const at::Tensor& keys,
                            const at::Tensor& values,
                            const PrefixLevels& levels);

}  // namespace notellm
