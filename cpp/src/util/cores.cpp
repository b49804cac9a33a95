#include "notellm/util/cores.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <thread>

namespace notellm {
namespace {

namespace fs = std::filesystem;

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

double quotient(double quota, double period) {
  return quota > 0 && period > 0 ? quota / period : kNoLimit;
}

// Version 2: "150000 100000", or "max 100000" without a limit.
double limit_of_version_2(const fs::path& group) {
  std::ifstream file(group / "cpu.max");
  double quota = 0, period = 0;
  return file >> quota >> period ? quotient(quota, period) : kNoLimit;
}

// Version 1: a file for each number; the quota is -1 without a limit.
double limit_of_version_1(const fs::path& group) {
  std::ifstream quota_file(group / "cpu.cfs_quota_us"), period_file(group / "cpu.cfs_period_us");
  double quota = 0, period = 0;
  return quota_file >> quota && period_file >> period ? quotient(quota, period) : kNoLimit;
}

// The tightest limit of a group and of those that it is in. In a container the group may be named
// as its host sees it; its own limit then stands at the mount.
template <typename LimitOf>
double tightest(const fs::path& mount, const fs::path& group, LimitOf limit_of) {
  fs::path folder = mount;
  double found = limit_of(folder);
  for (const fs::path& part : group.relative_path())
    found = std::min(found, limit_of(folder /= part));
  return found;
}

int cores_of_affinity() {
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof(mask), &mask) == 0) return CPU_COUNT(&mask);
  return static_cast<int>(std::thread::hardware_concurrency());  // more cores than the mask holds
}

}  // namespace

double cpu_quota(const fs::path& root) {
  const fs::path mounts = root / "sys/fs/cgroup";
  std::ifstream groups(root / "proc/self/cgroup");
  double found = kNoLimit;
  for (std::string line; std::getline(groups, line);) {  // "0::/a/b", or "4:cpu,cpuacct:/a/b"
    const size_t begin = line.find(':') + 1, end = line.find(':', begin);
    if (begin == 0 || end == std::string::npos) continue;
    const std::string controllers = line.substr(begin, end - begin), group = line.substr(end + 1);
    if (controllers.empty()) {
      found = std::min(found, tightest(mounts, group, limit_of_version_2));
    } else if (("," + controllers + ",").find(",cpu,") != std::string::npos) {
      for (const fs::path& mount : {mounts / controllers, mounts / "cpu"}) {  // one may be a link
        found = std::min(found, tightest(mount, group, limit_of_version_1));
      }
    }
  }
  return found;
}

int available_cores() {
  const double cores = std::min<double>(cores_of_affinity(), std::ceil(cpu_quota()));
  return std::max(1, static_cast<int>(cores));
}

}  // namespace notellm
