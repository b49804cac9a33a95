#include "notellm/util/parallel.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
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

// With memory for the stacks of few threads, or of none.
void run_with_little_memory(rlim_t stacks) {
  size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const rlim_t most =
      pages * sysconf(_SC_PAGESIZE) + stacks * (rlim_t{8} << 20) + (rlim_t{1} << 20);
  const rlimit limit{most, most};
  std::vector<int> runs(1000, 0);
  if (setrlimit(RLIMIT_AS, &limit) != 0) std::exit(1);
  run_tasks(1000, 512, [&](int64_t i) { ++runs[i]; });
  std::exit(runs == std::vector<int>(1000, 1) ? 0 : 2);
}

TEST(RunTasks, DoesItAllWithTheThreadsThatThereAre) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer reserves more memory than such a limit allows";
#endif
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // other tests' threads are gone in the child
  EXPECT_EXIT(run_with_little_memory(0), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(run_with_little_memory(3), testing::ExitedWithCode(0), "");
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
