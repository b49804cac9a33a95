#pragma once

#include "notellm/util/progress.h"

namespace notellm::internal {

/// While it lives, FAISS asks `progress` on this thread, now and then, whether to go on.
class AsksProgress {
 public:
  explicit AsksProgress(const ProgressFn& progress);
  ~AsksProgress();

  AsksProgress(const AsksProgress&) = delete;
  AsksProgress& operator=(const AsksProgress&) = delete;

  /// Throws what `progress` threw, if it did: FAISS has made an exception of its own of it.
  void rethrow() const;

 private:
  const ProgressFn* before_;
};

/// What a call of FAISS returns, which `progress` may end; it is called with (0, 1). What FAISS has
/// been changing is then unusable: the call must train, search, or fill an index that nobody keeps.
template <typename Call>
auto stoppable(const ProgressFn& progress, const Call& call) {
  const AsksProgress asks(progress);
  try {
    return call();
  } catch (...) {
    asks.rethrow();
    throw;
  }
}

}  // namespace notellm::internal
