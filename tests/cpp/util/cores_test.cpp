#include "notellm/util/cores.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

namespace notellm {
namespace {

// A file system of which only the files of control groups are there.
class CpuQuota : public testing::Test {
 protected:
  CpuQuota()
      : root_(std::filesystem::temp_directory_path() /
              ("notellm-cores-" + std::to_string(getpid()) + "-" +
               testing::UnitTest::GetInstance()->current_test_info()->name())) {}
  ~CpuQuota() override { std::filesystem::remove_all(root_); }

  void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }

  std::filesystem::path root_;
};

TEST_F(CpuQuota, IsNoneWithoutControlGroups) { EXPECT_EQ(cpu_quota(root_), HUGE_VAL); }

TEST_F(CpuQuota, OfVersion2IsTheTightestOfTheGroupAndThoseAboveIt) {
  write("proc/self/cgroup", "0::/pods/one\n");
  write("sys/fs/cgroup/pods/one/cpu.max", "max 100000\n");
  EXPECT_EQ(cpu_quota(root_), HUGE_VAL);
  write("sys/fs/cgroup/pods/cpu.max", "150000 100000\n");
  EXPECT_EQ(cpu_quota(root_), 1.5);
  write("sys/fs/cgroup/pods/one/cpu.max", "50000 100000\n");
  EXPECT_EQ(cpu_quota(root_), 0.5);
}

TEST_F(CpuQuota, OfVersion2InAContainerStandsAtTheMount) {
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/cpu.max", "400000 100000\n");
  EXPECT_EQ(cpu_quota(root_), 4);
}

TEST_F(CpuQuota, OfVersion1IsThatOfTheCpuController) {
  write("proc/self/cgroup", "9:cpuset:/jobs\n4:cpu,cpuacct:/jobs\n");
  write("sys/fs/cgroup/cpuset/jobs/cpu.cfs_quota_us", "1\n");
  write("sys/fs/cgroup/cpuset/jobs/cpu.cfs_period_us", "1\n");
  write("sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cpu_quota(root_), HUGE_VAL);
  write("sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us", "200000\n");
  EXPECT_EQ(cpu_quota(root_), 2);
}

TEST_F(CpuQuota, OfVersion1IsFoundWhereControllersAreNamedInAnotherOrder) {
  write("proc/self/cgroup", "4:cpuacct,cpu:/jobs\n");
  write("sys/fs/cgroup/cpu/jobs/cpu.cfs_quota_us", "300000\n");
  write("sys/fs/cgroup/cpu/jobs/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cpu_quota(root_), 3);
}

TEST_F(CpuQuota, OfFilesThatSayNothingIsNone) {
  write("proc/self/cgroup", "nothing\n:\n0::/a\n");
  write("sys/fs/cgroup/cpu.max", "");
  write("sys/fs/cgroup/a/cpu.max", "100000 0\n");
  EXPECT_EQ(cpu_quota(root_), HUGE_VAL);
}

TEST(AvailableCores, FollowTheAffinityMask) {
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  EXPECT_GE(available_cores(), 1);
  EXPECT_LE(available_cores(), CPU_COUNT(&before));
  CPU_ZERO(&one);
  for (int core = 0; CPU_COUNT(&one) == 0; ++core)
    if (CPU_ISSET(core, &before)) CPU_SET(core, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(available_cores(), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
}

}  // namespace
}  // namespace notellm
