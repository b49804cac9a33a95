#pragma once

#include <pybind11/stl.h>

#include <string>

#include "bindings.h"
#include "notellm/options/described.h"

/// Options between Python and the core.
namespace notellm::python {

/// Plain Python data as a tree that the core can check.
///
/// @throws ConfigError  if it is none of None, bool, int, float, str, list, tuple and dict.
Tree to_tree(const py::handle& data, int depth = 0);

/// Values as a dictionary in the order of the description.
py::dict to_dict(const OptionGroup& group, const OptionValues& values);

/// The value of an enum by its name.
///
/// @throws ConfigError  `where: option must be one of ..., but is ...`.
template <typename Enum>
Enum named(const std::string& name, const char* where, const char* option) {
  std::string known;
  for (const auto& [text, value] : names_of(Enum())) {
    if (text == name) return value;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  internal::throw_error<ConfigError>(where, option, " must be one of ", known, ", but is '", name,
                                     "'");
}

/// An immutable Python class of a struct with described options: keyword arguments with its
/// defaults, checked; attributes; `replace`, `to_dict`, equality, hash and pickling.
template <typename Struct, typename... Bases>
void bind_described(py::module_& m, const char* name) {
  const OptionGroup group = described<Struct>("");
  const std::string where = name;
  const auto made = [group, where](const py::dict& given) {
    const GroupValues values = check(to_tree(given), {group}, {.name = where, .fills_in = true});
    return made_of<Struct>(values.at(""), where);
  };
  const auto dict_of = [group](const Struct& self) { return to_dict(group, values_of(self)); };

  std::string text = group.meaning + "\n\nAttributes:\n";
  for (const Option& option : group.options)
    text += "    " + option.name + ": " + option.meaning + "\n";
  py::class_<Struct, Bases...> cls(m, name, text.c_str());
  cls.def(py::init([made](const py::kwargs& options) { return made(options); }));
  Struct::describe([&](const char* key, auto member, auto&&...) {
    cls.def_property_readonly(
        key, [member](const Struct& self) { return internal::to_option_value(self.*member); });
  });
  cls.def("to_dict", dict_of, "All options, by name.")
      .def(
          "replace",
          [made, dict_of](const Struct& self, const py::kwargs& changes) {
            py::dict all = dict_of(self);
            for (const auto& [key, value] : changes) all[key] = value;
            return made(all);
          },
          "The same with other values of some options, checked.")
      .def("__eq__",
           [dict_of](const Struct& self, const py::object& other) {
             return py::isinstance<Struct>(other) &&
                    dict_of(self).equal(dict_of(other.cast<Struct>()));
           })
      .def("__repr__",
           [dict_of, where](const Struct& self) {
             std::string list;
             for (const auto& [key, value] : dict_of(self)) {
               list += (list.empty() ? "" : ", ") + py::str(key).template cast<std::string>() +
                       "=" + py::repr(value).template cast<std::string>();
             }
             return where + "(" + list + ")";
           })
      .def("__hash__", [](const py::object& self) { return py::hash(py::repr(self)); })
      .def(py::pickle(dict_of, made));
}

}  // namespace notellm::python
