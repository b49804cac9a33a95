#include "bindings.h"

namespace notellm::python {

void bind_prompts(py::module_& /*m*/) {}

}  // namespace notellm::python
