#pragma once

#include <pybind11/numpy.h>

#include <span>
#include <vector>

#include "bindings.h"
#include "notellm/util/check.h"

/// NumPy arrays as arguments and results.
namespace notellm::python {

/// An argument: contiguous, converted to T where it is of another order, or of a dtype all of whose
/// numbers T has; of any other a TypeError, for a cast would change numbers without a word.
template <typename T>
using Array = py::array_t<T, py::array::c_style>;

/// What an argument of one dimension holds, borrowed.
///
/// @param name  "function: argument"
/// @throws std::invalid_argument  for other shapes.
template <typename T>
std::span<const T> as_span(const char* name, const Array<T>& array) {
  if (array.ndim() != 1) {
    throw std::invalid_argument(
        internal::joined(name, " must have one dimension, but has ", array.ndim()));
  }
  return {array.data(), static_cast<size_t>(array.size())};
}

/// A copy of such an argument.
template <typename T>
std::vector<T> to_vector(const char* name, const Array<T>& array) {
  const auto values = as_span(name, array);
  return {values.begin(), values.end()};
}

/// (n) a copy for Python.
template <typename T>
py::array_t<T> to_array(const std::vector<T>& values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

/// (n) a view of memory inside `owner`, which the view keeps alive.
template <typename T>
py::array_t<T> view(const py::object& owner, const T* data, int64_t size) {
  return py::array_t<T>(size, data, owner);
}

template <typename T>
py::array_t<T> view(const py::object& owner, const std::vector<T>& values) {
  return view(owner, values.data(), std::ssize(values));
}

/// A read-only property that shows a vector member as an array without a copy.
template <typename Class, typename... Options, typename T>
void def_array(py::class_<Class, Options...>& cls,
               const char* name,
               std::vector<T> Class::*member) {
  cls.def_property_readonly(name, [member](const py::object& self) {
    return view(self, self.cast<const Class&>().*member);
  });
}

/// The same, of numbers that were checked when the object was made, and are then believed: the
/// array cannot be written to.
template <typename Class, typename... Options, typename T>
void def_checked_array(py::class_<Class, Options...>& cls,
                       const char* name,
                       std::vector<T> Class::*member) {
  cls.def_property_readonly(name, [member](const py::object& self) {
    py::array_t<T> array = view(self, self.cast<const Class&>().*member);
    array.attr("setflags")(py::arg("write") = false);
    return array;
  });
}

}  // namespace notellm::python
