#include "bindings.h"

namespace notellm::python {

void bind_config(py::module_& /*m*/) {}

}  // namespace notellm::python
