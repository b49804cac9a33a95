#pragma once

#include <cstdint>
#include <functional>

namespace notellm {

/// Callback of a long function: called with `(done, total)` in units that the function names.
/// Returns false to stop the function, which then throws `Interrupted` and leaves nothing
/// half-made. Called on the thread that called the function, at most every few milliseconds; an
/// exception it throws passes through the function. May be empty.
using ProgressFn = std::function<bool(int64_t done, int64_t total)>;

/// Calls `progress` if it is not empty. @throws Interrupted if it asks to stop.
void report_progress(const ProgressFn& progress, int64_t done, int64_t total);

}  // namespace notellm
