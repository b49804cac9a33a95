#include "notellm/ops/attention_layout.h"

#include <algorithm>
#include <iterator>
#include <numeric>

#include "notellm/util/check.h"

namespace notellm {
namespace {

// Indices into `rows`, sorted by the tokens that the rows name.
std::vector<int64_t> by_token(std::span<const int64_t> rows, int64_t tokens) {
  constexpr const char* where = "attention_layout";
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

AttentionLayout attention_layout(const Segments& segments,
                                 std::optional<std::span<const int64_t>> read_rows) {
  std::vector<int64_t> every;
  if (!read_rows) {
    every.resize(segments.tokens());
    std::iota(every.begin(), every.end(), 0);
    read_rows = every;
  }
  const std::vector<int64_t> order = by_token(*read_rows, segments.tokens());
  AttentionLayout layout;
  layout.uses.resize(segments.count());
  layout.segment_offsets.push_back(0);
  auto next = order.begin();
  for (int64_t s = 0; s < segments.count(); ++s) {
    const int64_t end = segments.begin(s) + segments.length(s);
    layout.segment_offsets.push_back(end);
    AttentionLayout::Item item{s, layout.rows(), 0, std::ssize(layout.ranges), 0, 0};
    for (; next != order.end() && (*read_rows)[*next] < end; ++next) {
      const int64_t token = (*read_rows)[*next];
      layout.query_rows.push_back(*next);
      layout.query_tokens.push_back(token);
      layout.limits.push_back(segments.start(s) + token - segments.begin(s) + 1);
      ++item.query_count;
    }
    if (item.query_count == 0) continue;
    for (const int64_t part : segments.chain(s)) {
      layout.uses[part].push_back({std::ssize(layout.items), item.context});
      layout.ranges.push_back({segments.begin(part), segments.length(part)});
      item.context += segments.length(part);
      ++item.range_count;
    }
    layout.items.push_back(item);
  }
  return layout;
}

AttentionLayout growth_layout(std::span<const std::vector<kernels::TokenRange>> contexts,
                              int64_t kept,
                              int64_t padding) {
  AttentionLayout layout;
  const auto add = [&layout](const std::vector<kernels::TokenRange>& context, int64_t queries) {
    AttentionLayout::Item item{0, layout.rows(), queries, std::ssize(layout.ranges), 0, 0};
    for (const kernels::TokenRange& range : context) {
      layout.ranges.push_back(range);
      item.context += range.length;
      ++item.range_count;
    }
    for (int64_t i = 0; i < queries; ++i) {
      layout.query_rows.push_back(layout.rows());
      layout.query_tokens.push_back(context.back().begin + context.back().length - 1);
      layout.limits.push_back(item.context);
    }
    layout.items.push_back(item);
  };
  for (const auto& context : contexts) add(context, 1);
  if (padding > 0) add({{contexts[0].front().begin, 1}}, padding);
  layout.segment_offsets = {0, kept};
  layout.uses.resize(1);  // only gradients need it, and here there are none
  return layout;
}

}  // namespace notellm
