#ifdef NOTELLM_HAVE_FAISS

#include "faiss_interrupts.h"

#include <faiss/impl/AuxIndexStructures.h>

#include <memory>
#include <mutex>
#include <utility>

namespace notellm::internal {
namespace {

// FAISS has one callback for the whole process, and asks it on any of its threads: so each thread
// knows whom to ask, and those that know nobody go on.
thread_local const ProgressFn* asked = nullptr;
thread_local std::exception_ptr thrown;

struct Callback : faiss::InterruptCallback {
  bool want_interrupt() override {
    try {
      if (asked && !thrown) report_progress(*asked, 0, 1);
    } catch (...) {  // may be inside a parallel region, which an exception must not leave
      thrown = std::current_exception();
    }
    return thrown != nullptr;
  }
};

}  // namespace

AsksProgress::AsksProgress(const ProgressFn& progress) {
  static std::once_flag is_set;
  std::call_once(is_set, [] { faiss::InterruptCallback::instance = std::make_unique<Callback>(); });
  before_ = std::exchange(asked, &progress);
  thrown = nullptr;
}

AsksProgress::~AsksProgress() {
  asked = before_;
  thrown = nullptr;
}

void AsksProgress::rethrow() const {
  if (thrown) std::rethrow_exception(thrown);
}

}  // namespace notellm::internal

#endif
