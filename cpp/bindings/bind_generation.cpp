#include "bindings.h"

namespace notellm::python {

void bind_generation(py::module_& /*m*/) {}

}  // namespace notellm::python
