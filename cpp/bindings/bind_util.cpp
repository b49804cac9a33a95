#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include "bindings.h"
#include "notellm/kernels/instruction_set.h"
#include "notellm/util/check.h"
#include "notellm/util/cores.h"
#include "notellm/util/memory.h"
#include "notellm/util/parallel.h"

namespace notellm::python {
namespace {

// torch registers its own translator, but only for modules that share its pybind11 registry.
// This local one keeps Python error types right even when they do not.
void translate_torch_errors(std::exception_ptr error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const c10::IndexError& e) {
    PyErr_SetString(PyExc_IndexError, e.what_without_backtrace());
  } catch (const c10::ValueError& e) {
    PyErr_SetString(PyExc_ValueError, e.what_without_backtrace());
  } catch (const c10::TypeError& e) {
    PyErr_SetString(PyExc_TypeError, e.what_without_backtrace());
  } catch (const c10::NotImplementedError& e) {
    PyErr_SetString(PyExc_NotImplementedError, e.what_without_backtrace());
  } catch (
      const c10::OutOfMemoryError& e) {  // as torch's own functions: callers try a smaller batch
    const py::object type = py::module_::import("torch").attr("OutOfMemoryError");
    PyErr_SetString(type.ptr(), e.what_without_backtrace());
  } catch (const c10::Error& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what_without_backtrace());
  }
}

}  // namespace

ProgressFn to_progress(const py::object& callable) {
  // Without a callable we still pass by here, so that Ctrl-C works in every long call. The handle
  // is borrowed: copies of the function may die while the GIL is released, and the caller's
  // argument outlives them all.
  return [borrowed = py::handle(callable)](int64_t done, int64_t total) {
    py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (!borrowed.is_none()) borrowed(done, total);
    return true;
  };
}

uint64_t to_seed(const char* where, const py::object& seed) {
  const auto whole = py::reinterpret_steal<py::int_>(PyNumber_Index(seed.ptr()));
  if (!whole) throw py::error_already_set();  // a TypeError
  const uint64_t value = PyLong_AsUnsignedLongLong(whole.ptr());
  if (PyErr_Occurred()) {
    PyErr_Clear();
    internal::throw_error<std::invalid_argument>(where, "seed must be in [0, 2^64), but is ",
                                                 py::str(whole).cast<std::string>());
  }
  return value;
}

std::string escaped(const py::str& text) {
  return py::bytes(text.attr("encode")("utf-8", "backslashreplace"));
}

void bind_util(py::module_& m) {
  py::register_local_exception_translator(translate_torch_errors);
  py::register_local_exception<ConfigError>(m, "ConfigError", PyExc_ValueError);
  py::register_local_exception<DataError>(m, "DataError", PyExc_RuntimeError);
  py::register_local_exception<NotSupportedError>(m, "NotSupportedError",
                                                  PyExc_NotImplementedError);

  m.def(
      "set_num_threads",
      [](int count) {
        set_num_threads(count);
        at::set_num_threads(num_threads());
      },
      py::arg("count"));
  m.def("num_threads", [] { return num_threads(); });
  m.def("default_num_threads", &default_num_threads);
  m.def("available_cores", &available_cores);
  py::class_<KeepsFreedMemory>(m, "KeepsFreedMemory").def(py::init<>());
  m.def("instruction_set", [] { return name_of(instruction_set()); });
  m.def("set_instruction_set", &set_instruction_set, py::arg("name"));
}

}  // namespace notellm::python
