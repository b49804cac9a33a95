#include <torch/csrc/utils/pybind.h>

#include "notellm/embedding/embed.h"
#include "notellm/embedding/truncated.h"
#include "option_values.h"

namespace notellm::python {

void bind_embedding(py::module_& m) {
  py::class_<Embedded>(m, "Embedded")
      .def_readonly("vectors", &Embedded::vectors)
      .def_readonly("computed_tokens", &Embedded::computed_tokens)
      .def_readonly("sequence_tokens", &Embedded::sequence_tokens)
      .def_readonly("duplicate_notes", &Embedded::duplicate_notes)
      .def_readonly("weight_bytes", &Embedded::weight_bytes);
  m.def(
      "embed_notes",
      [](const ModelWeights& model, const PromptSet& prompts, const TokenizedNotes& notes,
         const std::vector<int64_t>& indices, EmbedOptions options, const std::string& pooling,
         bool projected, at::ScalarType compute, const py::object& progress) {
        options.pooling = named<Pooling>(pooling, "embed", "pooling");
        options.projected = projected;
        options.compute = compute;
        const ProgressFn report_to = to_progress(progress);
        py::gil_scoped_release release;
        return embed_notes(model, {prompts, notes}, indices, options, report_to);
      },
      py::arg("model"), py::arg("prompts"), py::arg("notes"), py::arg("indices"),
      py::arg("options"), py::kw_only(), py::arg("pooling"), py::arg("projected") = true,
      py::arg("compute"), py::arg("progress") = py::none());
  m.def("truncated", &truncated, py::arg("vectors"), py::arg("dim"),
        py::call_guard<py::gil_scoped_release>());
}

}  // namespace notellm::python
