#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "notellm/util/progress.h"

/// Each folder of the core has one bind_<folder>.cpp, which fills the submodule
/// `notellm._core.<folder>`.
namespace notellm::python {

namespace py = pybind11;

void bind_util(py::module_& m);
void bind_options(py::module_& m);
void bind_mining(py::module_& m);
void bind_prompts(py::module_& m);
void bind_ops(py::module_& m);
void bind_models(py::module_& m);
void bind_losses(py::module_& m);
void bind_embedding(py::module_& m);
void bind_generation(py::module_& m);
void bind_retrieval(py::module_& m);
void bind_metrics(py::module_& m);

/// Turns a Python callable `(done, total)` or None into a ProgressFn, to be called with the GIL
/// released: it takes the GIL, lets Python handle signals (Ctrl-C raises KeyboardInterrupt out of
/// the core) and calls the callable.
ProgressFn to_progress(const py::object& callable);

/// A seed from any whole number of Python. @throws std::invalid_argument  outside [0, 2^64), and
/// says so of `where`: pybind11 would show all signatures.
uint64_t to_seed(const char* where, const py::object& seed);

/// A text of Python as UTF-8, to be shown to the user or compared: what is not Unicode (a byte of a
/// path, as Python has it) becomes a backslash and its number.
std::string escaped(const py::str& text);

}  // namespace notellm::python
