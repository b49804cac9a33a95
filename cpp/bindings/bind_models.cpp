#include "bindings.h"

namespace notellm::python {

void bind_models(py::module_& /*m*/) {}

}  // namespace notellm::python
