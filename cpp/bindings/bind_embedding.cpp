#include "bindings.h"

namespace notellm::python {

void bind_embedding(py::module_& /*m*/) {}

}  // namespace notellm::python
