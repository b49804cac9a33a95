#include "bindings.h"

namespace notellm::python {

PYBIND11_MODULE(_core, m) {
  m.attr("__version__") = NOTELLM_VERSION;
  m.attr("__torch_version__") = NOTELLM_TORCH_VERSION;
#ifdef NOTELLM_HAVE_FAISS
  m.attr("has_faiss") = true;
#else
  m.attr("has_faiss") = false;
#endif
  const auto submodule = [&m](const char* name, void (*bind)(py::module_&)) {
    py::module_ part = m.def_submodule(name);
    bind(part);
  };
  submodule("util", bind_util);
  submodule("options", bind_options);
  submodule("mining", bind_mining);
  submodule("prompts", bind_prompts);
  submodule("ops", bind_ops);
  submodule("models", bind_models);
  submodule("losses", bind_losses);
  submodule("embedding", bind_embedding);
  submodule("generation", bind_generation);
  submodule("retrieval", bind_retrieval);
  submodule("metrics", bind_metrics);
}

}  // namespace notellm::python
