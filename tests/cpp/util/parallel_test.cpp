#include "notellm/util/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "notellm/util/check.h"

namespace notellm {
namespace {

TEST(RunTasks, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 7}) {
    std::vector<int> runs(1000, 0);
    run_tasks(1000, threads, [&](int64_t i) { ++runs[i]; });
    EXPECT_EQ(runs, std::vector<int>(1000, 1)) << threads << " threads";
  }
}

TEST(RunTasks, RethrowsTheFirstErrorAndStopsHandingOutTasks) {
  std::atomic<int64_t> started{0};
  const auto fail_at_ten = [&](int64_t i) {
    ++started;
    if (i == 10) throw std::out_of_range("ten");
  };
  EXPECT_THROW(run_tasks(1000000, 2, fail_at_ten), std::out_of_range);
  EXPECT_LT(started, 1000000);
}

TEST(RunTasks, StopsWhenProgressSaysSo) {
  const auto slow = [](int64_t) { std::this_thread::sleep_for(std::chrono::milliseconds(1)); };
  const auto stop = [](int64_t, int64_t) { return false; };
  EXPECT_THROW(run_tasks(100000, 2, slow, stop), Interrupted);
}

TEST(RunTasks, ReportsOnTheCallingThread) {
  const auto caller = std::this_thread::get_id();
  bool is_caller = true;
  const auto progress = [&](int64_t, int64_t) {
    is_caller = is_caller && std::this_thread::get_id() == caller;
    return true;
  };
  run_tasks(
      100, 2, [](int64_t) {}, progress);
  EXPECT_TRUE(is_caller);
}

}  // namespace
}  // namespace notellm
