#include "notellm/ops/kernel_attention_plan.h"

#include <algorithm>
#include <iterator>
#include <numeric>

#include "notellm/util/check.h"

namespace notellm {
namespace {

// Indices into `rows`, sorted by the tokens that the rows name.
std::vector<int64_t> by_token(std::span<const int64_t> rows, int64_t tokens) {
  constexpr const char* where = "plan_kernel_attention";
  std::vector<int64_t> order(rows.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return rows[a] < rows[b]; });
  for (size_t i = 0; i < order.size(); ++i) {
    const int64_t row = rows[order[i]];
    if (row < 0 || row >= tokens) {
      internal::throw_error<std::out_of_range>(where, "read rows must be in [0, ", tokens,
                                               "), but one is ", row);
    }
    if (i > 0 && row == rows[order[i - 1]]) {
      internal::throw_error<std::invalid_argument>(where, "read rows must be distinct, but ", row,
                                                   " comes twice");
    }
  }
  return order;
}

}  // namespace

KernelAttentionPlan plan_kernel_attention(const Segments& segments,
                                          std::optional<std::span<const int64_t>> read_rows) {
  std::vector<int64_t> every;
  if (!read_rows) {
    every.resize(segments.tokens());
    std::iota(every.begin(), every.end(), 0);
    read_rows = every;
  }
  const std::vector<int64_t> order = by_token(*read_rows, segments.tokens());
  KernelAttentionPlan plan;
  plan.uses.resize(segments.count());
  plan.segment_offsets.push_back(0);
  auto next = order.begin();
  for (int64_t s = 0; s < segments.count(); ++s) {
    const int64_t end = segments.begin(s) + segments.length(s);
    plan.segment_offsets.push_back(end);
    KernelAttentionPlan::Item item{s, plan.rows(), 0, std::ssize(plan.ranges), 0, 0};
    for (; next != order.end() && (*read_rows)[*next] < end; ++next) {
      const int64_t token = (*read_rows)[*next];
      plan.query_rows.push_back(*next);
      plan.query_tokens.push_back(token);
      plan.limits.push_back(segments.start(s) + token - segments.begin(s) + 1);
      ++item.query_count;
    }
    if (item.query_count == 0) continue;
    for (const int64_t part : segments.chain(s)) {
      plan.uses[part].push_back({std::ssize(plan.items), item.context});
      plan.ranges.push_back({segments.begin(part), segments.length(part)});
      item.context += segments.length(part);
      ++item.range_count;
    }
    plan.items.push_back(item);
  }
  return plan;
}

KernelAttentionPlan plan_kernel_decoding_step(
    std::span<const std::vector<kernels::TokenRange>> contexts, int64_t kept, int64_t padding) {
  KernelAttentionPlan plan;
  const auto add = [&plan](const std::vector<kernels::TokenRange>& context, int64_t queries) {
    KernelAttentionPlan::Item item{0, plan.rows(), queries, std::ssize(plan.ranges), 0, 0};
    for (const kernels::TokenRange& range : context) {
      plan.ranges.push_back(range);
      item.context += range.length;
      ++item.range_count;
    }
    for (int64_t i = 0; i < queries; ++i) {
      plan.query_rows.push_back(plan.rows());
      plan.query_tokens.push_back(context.back().begin + context.back().length - 1);
      plan.limits.push_back(item.context);
    }
    plan.items.push_back(item);
  };
  for (const auto& context : contexts) add(context, 1);
  if (padding > 0) add({{contexts[0].front().begin, 1}}, padding);
  plan.segment_offsets = {0, kept};
  plan.uses.resize(1);  // only gradients need it, and here there are none
  return plan;
}

}  // namespace notellm
