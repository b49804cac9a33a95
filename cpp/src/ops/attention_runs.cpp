#include "notellm/ops/attention_runs.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "notellm/ops/on_device.h"
#include "notellm/util/check.h"
#include "run_builder.h"

namespace notellm {
namespace internal {
namespace {

void append(std::vector<int64_t>& rows, int64_t begin, int64_t count) {
  for (int64_t i = 0; i < count; ++i) rows.push_back(begin + i);
}

}  // namespace

void RunBuilder::add_queries(int64_t begin, int64_t count) { append(query_rows_, begin, count); }

void RunBuilder::add_keys(int64_t begin, int64_t count) { append(key_rows_, begin, count); }

void RunBuilder::close() {
  end(query_offsets_, query_rows_, runs_.longest_queries);
  end(key_offsets_, key_rows_, runs_.longest_keys);
}

void RunBuilder::end(std::vector<int32_t>& offsets,
                     const std::vector<int64_t>& rows,
                     int64_t& longest) {
  require(rows.size() <= size_t{std::numeric_limits<int32_t>::max()}, where_,
          "attention must be of less than 2^31 rows together, but is of ", rows.size());
  offsets.push_back(static_cast<int32_t>(rows.size()));
  longest = std::max<int64_t>(longest, offsets.back() - offsets.end()[-2]);
}

AttentionRuns RunBuilder::finish(at::Device device, Named named) {
  runs_.query_offsets = on_device(query_offsets_, device);
  runs_.key_offsets = on_device(key_offsets_, device);
  if (named == Named::kBoth) runs_.query_rows = on_device(query_rows_, device);
  if (named != Named::kNone) runs_.key_rows = on_device(key_rows_, device);
  return std::move(runs_);
}

}  // namespace internal

AttentionRuns context_runs(const Segments& segments, at::Device device) {
  internal::RunBuilder runs("context_runs");
  for (int64_t s = 0; s < segments.count(); ++s) {
    runs.add_queries(segments.begin(s), segments.length(s));
    for (const int64_t part : segments.chain(s)) {
      runs.add_keys(segments.begin(part), segments.length(part));
    }
    runs.close();
  }
  return runs.finish(device, internal::RunBuilder::Named::kKeys);
}

}  // namespace notellm
