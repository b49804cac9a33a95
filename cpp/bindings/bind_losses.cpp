#include <pybind11/native_enum.h>
#include <torch/csrc/utils/pybind.h>

#include "bindings.h"
#include "notellm/losses/csft.h"
#include "notellm/losses/csft_head.h"
#include "notellm/losses/gcl.h"
#include "notellm/losses/joint.h"
#include "notellm/losses/nested_gcl.h"

namespace notellm::python {

namespace {

using MaybeTensor = std::optional<at::Tensor>;
using MaybeRange = std::optional<std::pair<int64_t, int64_t>>;

GclRows rows_of(const MaybeTensor& note_ids,
                const MaybeTensor& log_q,
                const MaybeRange& anchors,
                int64_t negatives) {
  return {note_ids.value_or(at::Tensor()), log_q.value_or(at::Tensor()), anchors, negatives};
}

}  // namespace

void bind_losses(py::module_& m) {
  using release_gil = py::call_guard<py::gil_scoped_release>;
  py::class_<LossTerm>(m, "LossTerm")
      .def(py::init([](at::Tensor sum, int64_t count) {
             return LossTerm{std::move(sum), count};
           }),
           py::arg("sum"), py::arg("count"))
      .def_readonly("sum", &LossTerm::sum)
      .def_readonly("count", &LossTerm::count);
  py::native_enum<CsftReduction>(m, "CsftReduction", "enum.Enum")
      .value("note", CsftReduction::kNote)
      .value("token", CsftReduction::kToken)
      .finalize();
  m.def(
      "gcl_loss",
      [](const at::Tensor& embeddings, const at::Tensor& tau, const MaybeTensor& note_ids,
         const MaybeTensor& log_q, const MaybeRange& anchors, int64_t negatives,
         int64_t tile_rows) {
        return gcl_loss(embeddings, tau, rows_of(note_ids, log_q, anchors, negatives), tile_rows);
      },
      py::arg("embeddings"), py::arg("tau"), py::arg("note_ids") = py::none(), py::kw_only(),
      py::arg("log_q") = py::none(), py::arg("anchors") = py::none(), py::arg("negatives") = 0,
      py::arg("tile_rows") = kGclTileRows, release_gil());
  m.def(
      "nested_gcl_loss",
      [](const at::Tensor& embeddings, const at::Tensor& tau,
         const std::vector<int64_t>& nested_dims, const MaybeTensor& note_ids,
         const MaybeTensor& log_q, const MaybeRange& anchors, int64_t negatives) {
        return nested_gcl_loss(embeddings, tau, nested_dims,
                               rows_of(note_ids, log_q, anchors, negatives));
      },
      py::arg("embeddings"), py::arg("tau"), py::arg("nested_dims"),
      py::arg("note_ids") = py::none(), py::kw_only(), py::arg("log_q") = py::none(),
      py::arg("anchors") = py::none(), py::arg("negatives") = 0, release_gil());
  m.def("csft_loss", &csft_loss, py::arg("logits"), py::arg("labels"), py::arg("label_offsets"),
        py::arg("reduction"), release_gil());
  m.def(
      "csft_head_loss",
      [](const at::Tensor& states, const at::Tensor& head, const at::Tensor& labels,
         const at::Tensor& label_offsets, CsftReduction reduction, at::ScalarType compute,
         std::optional<int64_t> max_logits) {
        return csft_head_loss(states, head, labels, label_offsets, reduction,
                              {compute, max_logits});
      },
      py::arg("states"), py::arg("head"), py::arg("labels"), py::arg("label_offsets"),
      py::arg("reduction"), py::arg("compute"), py::kw_only(), py::arg("max_logits") = py::none(),
      release_gil());
  m.def("joint_loss", &joint_loss, py::arg("contrastive"), py::arg("generative"), py::arg("alpha"),
        release_gil());
}

}  // namespace notellm::python
