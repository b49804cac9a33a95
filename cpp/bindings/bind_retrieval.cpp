#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include <optional>
#include <string>

#include "bindings.h"
#include "notellm/retrieval/index.h"
#include "notellm/retrieval/neighbours.h"
#include "notellm/retrieval/rank.h"
#include "notellm/util/check.h"

namespace notellm::python {
namespace {

using TensorPair = std::pair<at::Tensor, at::Tensor>;

TensorPair ranks(const at::Tensor& queries,
                 const at::Tensor& pool,
                 const at::Tensor& targets,
                 const std::optional<at::Tensor>& exclude,
                 int64_t query_tile,
                 int64_t pool_tile,
                 std::optional<bool> on_device,
                 const py::object& progress) {
  const ProgressFn report = to_progress(progress);
  py::gil_scoped_release release;
  auto [greater, equal] = target_ranks(queries, pool, targets, exclude.value_or(at::Tensor()),
                                       {query_tile, pool_tile, on_device}, report);
  return {greater, equal};
}

TensorPair part_ranks(const at::Tensor& queries,
                      const at::Tensor& targets,
                      const at::Tensor& part,
                      const std::optional<at::Tensor>& exclude,
                      int64_t query_tile,
                      int64_t pool_tile,
                      std::optional<bool> on_device,
                      const py::object& progress) {
  const ProgressFn report = to_progress(progress);
  py::gil_scoped_release release;
  auto [greater, equal] = ranks_in_part(queries, targets, part, exclude.value_or(at::Tensor()),
                                        {query_tile, pool_tile, on_device}, report);
  return {greater, equal};
}

TensorPair neighbours(const at::Tensor& queries,
                      const at::Tensor& pool,
                      int64_t k,
                      const std::optional<at::Tensor>& exclude,
                      int64_t query_tile,
                      int64_t pool_tile,
                      std::optional<bool> on_device,
                      const py::object& progress) {
  const ProgressFn report = to_progress(progress);
  py::gil_scoped_release release;
  auto [scores, indices] = nearest_neighbours(queries, pool, k, exclude.value_or(at::Tensor()),
                                              {query_tile, pool_tile, on_device}, report);
  return {scores, indices};
}

TensorPair among(const at::Tensor& queries,
                 const at::Tensor& pool,
                 const at::Tensor& candidates,
                 int64_t k,
                 std::optional<bool> on_device) {
  const ProgressFn signals = to_progress(py::none());
  const py::gil_scoped_release release;
  auto [scores, indices] = nearest_among(queries, pool, candidates, k, on_device, signals);
  return {scores, indices};
}

TensorPair search(const NeighbourIndex& index,
                  const at::Tensor& queries,
                  int64_t k,
                  const std::optional<at::Tensor>& exclude) {
  const ProgressFn signals = to_progress(py::none());
  const py::gil_scoped_release release;
  auto [scores, indices] = index.search(queries, k, exclude.value_or(at::Tensor()), signals);
  return {scores, indices};
}

std::unique_ptr<NeighbourIndex> over_pool(const at::Tensor& pool,
                                          const py::str& factory,
                                          const py::str& parameters) {
  const std::string description = escaped(factory), searches = escaped(parameters);
  const ProgressFn signals = to_progress(py::none());
  const py::gil_scoped_release release;
  return std::make_unique<NeighbourIndex>(pool, description, searches, signals);
}

NeighbourIndex build(int64_t width,
                     const py::str& factory,
                     const std::optional<at::Tensor>& sample) {
  const std::string description = escaped(factory);
  const ProgressFn signals = to_progress(py::none());
  const py::gil_scoped_release release;
  return NeighbourIndex::build(width, description, sample.value_or(at::Tensor()), signals);
}

void add(NeighbourIndex& index, const at::Tensor& rows) {
  const ProgressFn signals = to_progress(py::none());
  const py::gil_scoped_release release;
  index.add(rows, signals);
}

void set_parameters(NeighbourIndex& index, const py::str& parameters) {
  const std::string searches = escaped(parameters);
  const py::gil_scoped_release release;
  index.set_parameters(searches);
}

// `write` is a file's: it is called with a view of memory, and takes all of it.
void write_index(const NeighbourIndex& index, const py::function& write) {
  const WriteBytes to_file = [&](const void* from, size_t count) {
    const py::gil_scoped_acquire acquire;
    write(py::memoryview::from_memory(from, static_cast<py::ssize_t>(count)));
  };
  const py::gil_scoped_release release;
  index.write(to_file);
}

// `readinto` is a file's: it fills a view of memory, and returns how many bytes it had.
NeighbourIndex read_index(const py::function& readinto, int64_t length) {
  const ReadBytes from_file = [&](void* to, size_t count) {
    const py::gil_scoped_acquire acquire;
    const py::object got =
        readinto(py::memoryview::from_memory(to, static_cast<py::ssize_t>(count)));
    if (got.cast<size_t>() != count) throw DataError("NeighbourIndex: the file ends too early");
  };
  const py::gil_scoped_release release;
  return NeighbourIndex::read(from_file, length);
}

}  // namespace

void bind_retrieval(py::module_& m) {
  const TileOptions tiles;
  m.def("target_ranks", &ranks, py::arg("queries"), py::arg("pool"), py::arg("targets"),
        py::arg("exclude") = py::none(), py::arg("query_tile") = tiles.queries,
        py::arg("pool_tile") = tiles.pool, py::arg("on_device") = tiles.on_device,
        py::arg("progress") = py::none());
  m.def("ranks_in_part", &part_ranks, py::arg("queries"), py::arg("targets"), py::arg("part"),
        py::arg("exclude") = py::none(), py::arg("query_tile") = tiles.queries,
        py::arg("pool_tile") = tiles.pool, py::arg("on_device") = tiles.on_device,
        py::arg("progress") = py::none());
  m.def("neighbours", &neighbours, py::arg("queries"), py::arg("pool"), py::arg("k"),
        py::arg("exclude") = py::none(), py::arg("query_tile") = tiles.queries,
        py::arg("pool_tile") = tiles.pool, py::arg("on_device") = tiles.on_device,
        py::arg("progress") = py::none());
  const auto release = py::call_guard<py::gil_scoped_release>();
  m.def("nearest_among", &among, py::arg("queries"), py::arg("pool"), py::arg("candidates"),
        py::arg("k"), py::arg("on_device") = tiles.on_device);
  m.def("faiss_version", &faiss_version);
  py::class_<NeighbourIndex>(m, "NeighbourIndex")
      .def(py::init(&over_pool), py::arg("pool"), py::arg("factory"), py::arg("parameters") = "")
      .def_static("build", &build, py::arg("width"), py::arg("factory"),
                  py::arg("sample") = py::none())
      .def_static("read", &read_index, py::arg("readinto"), py::arg("length"))
      .def("write", &write_index, py::arg("write"))
      .def("add", &add, py::arg("rows"))
      .def("set_parameters", &set_parameters, py::arg("parameters"))
      .def("search", &search, py::arg("queries"), py::arg("k"), py::arg("exclude") = py::none())
      .def("stored", &NeighbourIndex::stored, py::arg("rows"), release)
      .def_property_readonly("width", &NeighbourIndex::width)
      .def("__len__", &NeighbourIndex::size, release);
}

}  // namespace notellm::python
