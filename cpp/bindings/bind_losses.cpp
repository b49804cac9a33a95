#include "bindings.h"

namespace notellm::python {

void bind_losses(py::module_& /*m*/) {}

}  // namespace notellm::python
