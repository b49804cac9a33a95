#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include <optional>
#include <string>

#include "bindings.h"
#include "notellm/retrieval/index.h"
#include "notellm/retrieval/neighbours.h"
#include "notellm/retrieval/rank.h"

namespace notellm::python {
namespace {

using TensorPair = std::pair<at::Tensor, at::Tensor>;

TensorPair ranks(const at::Tensor& queries,
                 const at::Tensor& pool,
                 const at::Tensor& targets,
                 const std::optional<at::Tensor>& exclude,
                 int64_t query_tile,
                 int64_t pool_tile,
                 const py::object& progress) {
  const ProgressFn report = to_progress(progress);
  py::gil_scoped_release release;
  auto [greater, equal] = target_ranks(queries, pool, targets, exclude.value_or(at::Tensor()),
                                       {query_tile, pool_tile}, report);
  return {greater, equal};
}

TensorPair part_ranks(const at::Tensor& queries,
                      const at::Tensor& targets,
                      const at::Tensor& part,
                      const std::optional<at::Tensor>& exclude,
                      int64_t query_tile,
                      int64_t pool_tile,
                      const py::object& progress) {
  const ProgressFn report = to_progress(progress);
  py::gil_scoped_release release;
  auto [greater, equal] = ranks_in_part(queries, targets, part, exclude.value_or(at::Tensor()),
                                        {query_tile, pool_tile}, report);
  return {greater, equal};
}

TensorPair neighbours(const at::Tensor& queries,
                      const at::Tensor& pool,
                      int64_t k,
                      const std::optional<at::Tensor>& exclude,
                      int64_t query_tile,
                      int64_t pool_tile,
                      const py::object& progress) {
  const ProgressFn report = to_progress(progress);
  py::gil_scoped_release release;
  auto [scores, indices] = nearest_neighbours(queries, pool, k, exclude.value_or(at::Tensor()),
                                              {query_tile, pool_tile}, report);
  return {scores, indices};
}

TensorPair search(const NeighbourIndex& index,
                  const at::Tensor& queries,
                  int64_t k,
                  const std::optional<at::Tensor>& exclude) {
  auto [scores, indices] = index.search(queries, k, exclude.value_or(at::Tensor()));
  return {scores, indices};
}

}  // namespace

void bind_retrieval(py::module_& m) {
  const TileOptions tiles;
  m.def("target_ranks", &ranks, py::arg("queries"), py::arg("pool"), py::arg("targets"),
        py::arg("exclude") = py::none(), py::arg("query_tile") = tiles.queries,
        py::arg("pool_tile") = tiles.pool, py::arg("progress") = py::none());
  m.def("ranks_in_part", &part_ranks, py::arg("queries"), py::arg("targets"), py::arg("part"),
        py::arg("exclude") = py::none(), py::arg("query_tile") = tiles.queries,
        py::arg("pool_tile") = tiles.pool, py::arg("progress") = py::none());
  m.def("neighbours", &neighbours, py::arg("queries"), py::arg("pool"), py::arg("k"),
        py::arg("exclude") = py::none(), py::arg("query_tile") = tiles.queries,
        py::arg("pool_tile") = tiles.pool, py::arg("progress") = py::none());
  const auto release = py::call_guard<py::gil_scoped_release>();
  py::class_<NeighbourIndex>(m, "NeighbourIndex")
      .def(py::init<const at::Tensor&, const std::string&, const std::string&>(), py::arg("pool"),
           py::arg("factory"), py::arg("parameters") = "", release)
      .def("search", &search, py::arg("queries"), py::arg("k"), py::arg("exclude") = py::none(),
           release)
      .def("__len__", &NeighbourIndex::size);
}

}  // namespace notellm::python
