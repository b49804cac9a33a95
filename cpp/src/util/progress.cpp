#include "notellm/util/progress.h"

#include "notellm/util/check.h"

namespace notellm {

void report_progress(const ProgressFn& progress, int64_t done, int64_t total) {
  if (progress && !progress(done, total)) throw Interrupted("stopped on request");
}

}  // namespace notellm
