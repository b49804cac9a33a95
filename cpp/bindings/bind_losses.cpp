#include <torch/extension.h>

#include "bindings.h"
#include "notellm/losses/csft.h"
#include "notellm/losses/gcl.h"
#include "notellm/losses/joint.h"

namespace notellm::python {

void bind_losses(py::module_& m) {
  using release_gil = py::call_guard<py::gil_scoped_release>;
  py::class_<LossTerm>(m, "LossTerm")
      .def(py::init([](at::Tensor sum, int64_t count) {
             return LossTerm{std::move(sum), count};
           }),
           py::arg("sum"), py::arg("count"))
      .def_readonly("sum", &LossTerm::sum)
      .def_readonly("count", &LossTerm::count);
  py::enum_<CsftReduction>(m, "CsftReduction")
      .value("note", CsftReduction::kNote)
      .value("token", CsftReduction::kToken);
  m.def(
      "gcl_loss",
      [](const at::Tensor& embeddings, const at::Tensor& tau,
         const std::optional<at::Tensor>& note_ids) {
        return gcl_loss(embeddings, tau, note_ids.value_or(at::Tensor()));
      },
      py::arg("embeddings"), py::arg("tau"), py::arg("note_ids") = py::none(), release_gil());
  m.def("csft_loss", &csft_loss, py::arg("logits"), py::arg("labels"), py::arg("label_offsets"),
        py::arg("reduction"), release_gil());
  m.def("joint_loss", &joint_loss, py::arg("contrastive"), py::arg("generative"), py::arg("alpha"),
        release_gil());
}

}  // namespace notellm::python
