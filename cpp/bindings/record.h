#pragma once

#include <string>
#include <utility>

#include "bindings.h"

namespace notellm::python {

/// Makes a struct a Python class of read-only attributes, all of which are keyword arguments with
/// the struct's defaults:
///
///   def_fields(py::class_<RopeOptions>(m, "RopeOptions"), std::pair{"theta",
///   &RopeOptions::theta});
///
/// None is a tensor that is undefined, as it is by default; it is no argument.
template <typename Struct, typename... Members>
void def_fields(py::class_<Struct> cls, std::pair<const char*, Members>... fields) {
  const auto name = cls.attr("__name__").template cast<std::string>();
  cls.def(py::init([name, fields...](const py::kwargs& given) {
    Struct made;
    size_t known = 0;
    const auto take = [&](const char* key, auto member) {
      if (!given.contains(key)) return;
      using Member = std::remove_cvref_t<decltype(made.*member)>;
      try {
        made.*member = given[key].template cast<Member>();
      } catch (const py::cast_error&) {
        const auto type = py::repr(py::type::of(given[key])).template cast<std::string>();
        throw py::type_error(name + ": " + key + " must be of another type, but is " + type);
      }
      ++known;
    };
    (take(fields.first, fields.second), ...);
    if (known != given.size()) {
      throw py::type_error(name + ": knows the arguments " +
                           ((std::string(fields.first) + " ") + ...) + "alone");
    }
    return made;
  }));
  (cls.def_readonly(fields.first, fields.second), ...);
  cls.def("__reduce__", [fields...](const py::object& self) {  // copies and pickles
    py::dict state;
    const auto keep = [&](const char* key) {
      const py::object value = self.attr(key);
      if (!value.is_none()) state[key] = value;
    };
    (keep(fields.first), ...);
    const auto partial = py::module_::import("functools").attr("partial");
    return py::make_tuple(partial(py::type::of(self), **state), py::tuple());
  });
}

}  // namespace notellm::python
