#include "recorded_step.h"

#include <ATen/record_function.h>

namespace notellm::internal {

RecordedStep::RecordedStep(const char* name) {
  auto callbacks = at::getStepCallbacksUnlessEmpty(at::RecordScope::FUNCTION);
  if (!callbacks) return;
  record_ = std::make_unique<at::RecordFunction>(std::move(*callbacks));
  record_->before(name);
}

RecordedStep::~RecordedStep() = default;

}  // namespace notellm::internal
