#pragma once

#include <memory>

namespace at {
struct RecordFunction;
}

namespace notellm::internal {

/// Shows a step to torch's profiler for as long as it lives: RECORD_FUNCTION, whose header takes
/// seconds to compile, out of line.
class RecordedStep {
 public:
  explicit RecordedStep(const char* name);
  ~RecordedStep();

 private:
  std::unique_ptr<at::RecordFunction> record_;  // none where nobody watches
};

}  // namespace notellm::internal
