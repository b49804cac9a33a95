#pragma once

#include <filesystem>

namespace notellm {

/// Processor cores that this process may use, at least 1: those of its affinity mask (`taskset`, a
/// scheduler's share of a machine), or fewer where a control group limits its processor time.
int available_cores();

/// Processor time that the control groups of this process allow it, in cores (`docker --cpus`, the
/// limits of Kubernetes); the tightest limit of all groups it is in, infinity if there is none.
///
/// @param root  The root of the file system.
double cpu_quota(const std::filesystem::path& root = "/");

}  // namespace notellm
