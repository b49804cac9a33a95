#include "bindings.h"

namespace notellm::python {

void bind_metrics(py::module_& /*m*/) {}

}  // namespace notellm::python
