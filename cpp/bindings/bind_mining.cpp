#include "bindings.h"

namespace notellm::python {

void bind_mining(py::module_& /*m*/) {}

}  // namespace notellm::python
