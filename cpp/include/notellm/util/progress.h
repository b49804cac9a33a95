#pragma once

#include <cstdint>
#include <functional>

namespace notellm {

/// Told how much of a long call is done: `(done, total)` in units the callee names. Returns false
/// to stop it, upon which the callee throws `Interrupted` and leaves nothing half-made. Always
/// called on the thread that made the call, at most every few milliseconds of work; an exception it
/// throws passes through the callee. May be empty.
using ProgressFn = std::function<bool(int64_t done, int64_t total)>;

/// Reports to `progress` if there is one. @throws Interrupted if it asks to stop.
void report_progress(const ProgressFn& progress, int64_t done, int64_t total);

}  // namespace notellm
