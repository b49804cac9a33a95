#pragma once

#include <cstdint>
#include <vector>

#include "notellm/ops/attention_runs.h"

namespace notellm::internal {

/// Collects runs, and the rows that they are of.
class RunBuilder {
 public:
  /// @param where  begins the message about too many rows.
  explicit RunBuilder(const char* where) : where_(where) {}

  void add_queries(int64_t begin, int64_t count);
  void add_keys(int64_t begin, int64_t count);

  /// Ends a run.
  void close();

  /// Whose rows are named: those that are not all rows in order.
  enum class Named { kNone, kKeys, kBoth };
  AttentionRuns finish(at::Device device, Named named);

 private:
  void end(std::vector<int32_t>& offsets, const std::vector<int64_t>& rows, int64_t& longest);

  const char* where_;
  AttentionRuns runs_;
  std::vector<int64_t> query_rows_, key_rows_;
  std::vector<int32_t> query_offsets_{0}, key_offsets_{0};
};

}  // namespace notellm::internal
