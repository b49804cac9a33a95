#include "notellm/util/parallel.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "notellm/util/check.h"
#include "notellm/util/cores.h"

namespace notellm {
namespace {

std::atomic<int> g_threads{0};

// The queue that the workers share; everything except `next` is guarded by `mutex`.
struct TaskQueue {
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::condition_variable changed;
  int64_t finished = 0;
  int running = 0;
  std::exception_ptr error;
};

void work(TaskQueue& queue, int64_t count, const std::function<void(int64_t)>& task) {
  for (int64_t i = queue.next++; i < count; i = queue.next++) {
    try {
      task(i);
    } catch (...) {
      std::lock_guard lock(queue.mutex);
      if (!queue.error) queue.error = std::current_exception();
      queue.next = count;
    }
    std::lock_guard lock(queue.mutex);
    ++queue.finished;
  }
  std::lock_guard lock(queue.mutex);
  --queue.running;
  queue.changed.notify_all();
}

}  // namespace

void set_num_threads(int count) {
  internal::require(count >= 0, "set_num_threads",
                    "the number of threads must be at least 0, but is ", count);
  g_threads = count;
}

// OMP_NUM_THREADS is "4", or "4,2", of which the first is for the outermost loops.
int default_num_threads() {
  const char* text = std::getenv("OMP_NUM_THREADS");
  const long count = text != nullptr ? std::strtol(text, nullptr, 10) : 0;
  return count > 0 ? static_cast<int>(std::min(count, 4096L)) : available_cores();
}

int num_threads() {
  static const int found = default_num_threads();
  const int wanted = g_threads;
  return wanted > 0 ? wanted : found;
}

void run_tasks(int64_t count,
               int threads,
               const std::function<void(int64_t)>& task,
               const ProgressFn& progress) {
  if (count <= 0) return;
  TaskQueue queue;
  const int64_t wanted = threads > 0 ? threads : num_threads();
  queue.running = static_cast<int>(std::min<int64_t>(wanted, count));
  std::vector<std::jthread> workers;
  for (int missing = queue.running; missing > 0; --missing) {
    try {
      workers.emplace_back([&] { work(queue, count, task); });
    } catch (const std::system_error&) {  // we may have no more: those that there are do it all
      std::lock_guard lock(queue.mutex);
      queue.running -= missing;
      break;
    }
  }
  if (workers.empty()) {
    queue.running = 1;
    work(queue, count, task);
  }

  // The caller only waits and reports, so that `progress` never runs on a foreign thread.
  std::unique_lock lock(queue.mutex);
  while (queue.running > 0) {
    queue.changed.wait_for(lock, std::chrono::milliseconds(50));
    const int64_t finished = queue.finished;
    lock.unlock();
    try {
      report_progress(progress, finished, count);
    } catch (...) {
      queue.next = count;
      throw;  // the jthreads join while the stack unwinds
    }
    lock.lock();
  }
  if (queue.error) std::rethrow_exception(queue.error);
}

}  // namespace notellm
