#pragma once

#include <cstdint>
#include <functional>

#include "notellm/util/progress.h"

namespace notellm {

/// Sets the number of threads of our torch-free loops (`run_tasks`); 0 = `default_num_threads()`.
/// @throws std::invalid_argument if negative.
void set_num_threads(int count);

/// As many as the environment variable OMP_NUM_THREADS says, else `available_cores()`.
int default_num_threads();

/// Threads that `run_tasks` uses when it is given 0.
int num_threads();

/// Runs `task(0) ... task(count - 1)`, each once, on `threads` threads (0 = `num_threads()`).
///
/// Tasks are handed out in increasing order; which thread runs one is unspecified, so a task must
/// write only what belongs to its index. The first exception a task throws is rethrown here after
/// all threads have stopped. `progress` is called with (finished tasks, count) on the calling
/// thread, about twenty times a second.
void run_tasks(int64_t count,
               int threads,
               const std::function<void(int64_t)>& task,
               const ProgressFn& progress = {});

}  // namespace notellm
