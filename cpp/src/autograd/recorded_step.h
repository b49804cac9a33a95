#pragma once

#include <memory>

namespace at {
struct RecordFunction;
}

namespace notellm::internal {

/// Shows a step to torch's profiler during the object's lifetime, like RECORD_FUNCTION, whose
/// header takes seconds to compile and is therefore included in one source only.
class RecordedStep {
 public:
  explicit RecordedStep(const char* name);
  ~RecordedStep();

 private:
  std::unique_ptr<at::RecordFunction> record_;  // null if no profiler is active
};

}  // namespace notellm::internal
