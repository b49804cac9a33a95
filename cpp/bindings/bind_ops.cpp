#include <torch/csrc/utils/pybind.h>

#include <tuple>

#include "bindings.h"
#include "notellm/ops/dtypes.h"
#include "notellm/ops/matmul.h"
#include "notellm/ops/quantise.h"
#include "notellm/ops/rms_norm.h"

namespace notellm::python {
namespace {

using release_gil = py::call_guard<py::gil_scoped_release>;

void bind_products(py::module_& m) {
  m.def("multiplies_bf16", &multiplies_bf16);
  m.def("for_products", &for_products, py::arg("factor"), py::arg("compute"), release_gil());
  m.def(
      "matmul_transposed",
      [](const at::Tensor& x, const at::Tensor& weight) { return matmul_transposed(x, weight); },
      py::arg("x"), py::arg("weight"), release_gil());
  m.def("wide_product", &wide_product, py::arg("x"), py::arg("weight"), py::arg("compute"),
        release_gil());
  m.def("weight_gradient", &weight_gradient, py::arg("a"), py::arg("b"), py::arg("dtype"),
        release_gil());
}

void bind_quantised(py::module_& m) {
  m.def(
      "quantise",
      [](const at::Tensor& matrix) {
        QuantisedMatrix quantised = quantise(matrix);
        return std::make_tuple(quantised.values, quantised.scales);
      },
      py::arg("matrix"), release_gil());
  m.def("dequantise", &dequantise, py::arg("values"), py::arg("scales"), py::arg("dtype"),
        release_gil());
}

}  // namespace

void bind_ops(py::module_& m) {
  m.def("wide_dtype", &wide_dtype, py::arg("compute"));
  m.def(
      "rms_norm",
      [](const at::Tensor& x, const at::Tensor& weight, double epsilon) {
        return rms_norm(x, weight, epsilon, x.scalar_type());
      },
      py::arg("x"), py::arg("weight"), py::arg("epsilon"), release_gil());
  bind_products(m);
  bind_quantised(m);
}

}  // namespace notellm::python
