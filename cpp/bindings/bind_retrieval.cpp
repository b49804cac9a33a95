#include "bindings.h"

namespace notellm::python {

void bind_retrieval(py::module_& /*m*/) {}

}  // namespace notellm::python
