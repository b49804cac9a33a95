#include <optional>
#include <variant>

#include "notellm/options/yaml.h"
#include "notellm/run/run_options.h"
#include "option_values.h"

namespace notellm::python {

namespace {

// A text of Python as UTF-8.
std::string to_text(const py::handle& text) {
  Py_ssize_t size = 0;
  const char* const first = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
  if (first) return {first, static_cast<size_t>(size)};
  PyErr_Clear();
  throw ConfigError("texts must be Unicode, but one is " + py::repr(text).cast<std::string>());
}

using Content = std::variant<py::bytes, py::str>;

// A file's bytes, or a text's: what is not Unicode is then refused by its line.
std::string to_bytes(const Content& content) {
  if (const auto* const bytes = std::get_if<py::bytes>(&content)) return *bytes;
  return py::bytes(std::get<py::str>(content).attr("encode")("utf-8", "surrogatepass"));
}

}  // namespace

Tree to_tree(const py::handle& data, int depth) {
  constexpr int kMostLevels = 16;  // a list can hold itself
  Tree tree;
  if (depth > kMostLevels) throw ConfigError("values must be at most 16 deep");
  if (data.is_none()) return tree;
  if (py::isinstance<py::bool_>(data)) {
    tree.content = data.cast<bool>();
  } else if (py::isinstance<py::int_>(data)) {
    try {
      tree.content = data.cast<int64_t>();
    } catch (const py::cast_error&) {  // the double is refused where an integer is meant
      tree.content = PlainText{py::str(data).cast<std::string>()};
    }
  } else if (py::isinstance<py::float_>(data)) {
    tree.content = data.cast<double>();
  } else if (py::isinstance<py::str>(data)) {
    tree.content = to_text(data);
  } else if (py::isinstance<py::list>(data) || py::isinstance<py::tuple>(data)) {
    Tree::List items;
    for (const py::handle item : data) items.push_back(to_tree(item, depth + 1));
    tree.content = std::move(items);
  } else if (py::isinstance<py::dict>(data)) {
    Tree::Map entries;
    for (const auto& [key, value] : data.cast<py::dict>()) {
      entries.push_back({to_text(py::str(key)), 0, to_tree(value, depth + 1)});
    }
    tree.content = std::move(entries);
  } else {
    throw ConfigError(
        "values must be plain (None, bool, int, float, str, list, dict), but one is " +
        py::repr(data).cast<std::string>());
  }
  return tree;
}

py::dict to_dict(const OptionGroup& group, const OptionValues& values) {
  py::dict result;
  for (const Option& option : group.options) result[option.name.c_str()] = values.at(option.name);
  return result;
}

namespace {

using Groups = std::vector<OptionGroup>;

py::dict to_dict(const Groups& groups, const GroupValues& values) {
  py::dict result;
  for (const OptionGroup& group : groups) {
    const py::dict own = python::to_dict(group, values.at(group.name));
    if (group.name.empty()) {
      result.attr("update")(own);
    } else {
      result[group.name.c_str()] = own;
    }
  }
  return result;
}

// An empty list from Python says nothing of its items, and is taken for one of texts.
OptionValue of_integers(OptionValue list) {
  return std::holds_alternative<std::vector<std::string>>(list) ? std::vector<int64_t>() : list;
}

void bind_description(py::module_& m) {
  py::class_<Option>(m, "Option", "The description of one option.")
      .def(py::init([](std::string name, OptionValue standard, std::string meaning,
                       std::optional<double> low, std::optional<double> high, bool excludes_low,
                       bool excludes_high, std::vector<std::string> choices, bool must_not_be_empty,
                       bool must_differ, std::string unit, bool decides_cost, bool is_added_later,
                       bool is_of_integers) {
             if (is_of_integers) standard = of_integers(std::move(standard));
             OptionFacts facts{.excludes_low = excludes_low,
                               .excludes_high = excludes_high,
                               .choices = std::move(choices),
                               .must_not_be_empty = must_not_be_empty,
                               .must_differ = must_differ,
                               .unit = std::move(unit),
                               .decides = decides_cost ? Decides::kCost : Decides::kResult,
                               .is_added_later = is_added_later};
             if (low) facts.low = *low;
             if (high) facts.high = *high;
             return Option{std::move(name), std::move(standard), std::move(meaning),
                           std::move(facts)};
           }),
           py::arg("name"), py::arg("standard"), py::arg("meaning"), py::kw_only(),
           py::arg("low") = py::none(), py::arg("high") = py::none(),
           py::arg("excludes_low") = false, py::arg("excludes_high") = false,
           py::arg("choices") = std::vector<std::string>(), py::arg("must_not_be_empty") = false,
           py::arg("must_differ") = false, py::arg("unit") = "", py::arg("decides_cost") = false,
           py::arg("is_added_later") = false, py::arg("is_of_integers") = false)
      .def_readonly("name", &Option::name)
      .def_readonly("standard", &Option::standard)
      .def_readonly("meaning", &Option::meaning)
      .def_property_readonly("low", [](const Option& self) { return self.facts.low; })
      .def_property_readonly("high", [](const Option& self) { return self.facts.high; })
      .def_property_readonly("excludes_low",
                             [](const Option& self) { return self.facts.excludes_low; })
      .def_property_readonly("excludes_high",
                             [](const Option& self) { return self.facts.excludes_high; })
      .def_property_readonly("choices", [](const Option& self) { return self.facts.choices; })
      .def_property_readonly("must_not_be_empty",
                             [](const Option& self) { return self.facts.must_not_be_empty; })
      .def_property_readonly("must_differ",
                             [](const Option& self) { return self.facts.must_differ; })
      .def_property_readonly("unit", [](const Option& self) { return self.facts.unit; })
      .def_property_readonly("is_added_later",
                             [](const Option& self) { return self.facts.is_added_later; })
      .def_property_readonly(
          "decides_cost", [](const Option& self) { return self.facts.decides == Decides::kCost; });
}

void bind_group(py::module_& m) {
  py::class_<OptionGroup>(m, "OptionGroup", "Options that belong together.")
      .def(py::init<std::string, std::string, std::vector<Option>>(), py::arg("name"),
           py::arg("meaning"), py::arg("options"))
      .def_readonly("name", &OptionGroup::name)
      .def_readonly("meaning", &OptionGroup::meaning)
      .def_readonly("options", &OptionGroup::options);
}

}  // namespace

void bind_options(py::module_& m) {
  bind_description(m);
  bind_group(m);
  bind_described<MiningOptions>(m, "MiningOptions");
  bind_described<EmbedOptions>(m, "EmbedOptions");
  bind_described<DecodingOptions>(m, "DecodingOptions");
  bind_described<GenerationOptions, DecodingOptions>(m, "GenerationOptions");
  m.def("core_groups", &core_groups, "The groups that functions of the core take.");
  m.def(
      "check",
      [](const py::dict& values, const Groups& groups, std::string name, bool fills_in) {
        return to_dict(groups, check(to_tree(values), groups,
                                     {.name = std::move(name), .fills_in = fills_in}));
      },
      py::arg("values"), py::arg("groups"), py::kw_only(), py::arg("name") = "",
      py::arg("fills_in") = false);
  m.def(
      "read_yaml",
      [](const Content& text, const Groups& groups, const py::str& name, bool fills_in) {
        const std::string shown = escaped(name);
        return to_dict(groups, check(parse_yaml(to_bytes(text), shown), groups,
                                     {.name = shown, .fills_in = fills_in}));
      },
      py::arg("text"), py::arg("groups"), py::kw_only(), py::arg("name") = "",
      py::arg("fills_in") = false);
  m.def(
      "check_yaml",
      [](const Content& text, const py::str& name) { parse_yaml(to_bytes(text), escaped(name)); },
      py::arg("text"), py::kw_only(), py::arg("name") = "",
      "Refuses what `read_yaml` refuses whatever the keys: bad syntax, and too many values.");
  m.def(
      "to_yaml",
      [](const py::dict& values, const Groups& groups) {
        return to_yaml(groups, check(to_tree(values), groups, {}));
      },
      py::arg("values"), py::arg("groups"));
  m.def("keys_of", &keys_of, py::arg("groups"));
  m.def(
      "unknown_key",
      [](const Groups& groups, const py::str& key) { return unknown_key(groups, escaped(key)); },
      py::arg("groups"), py::arg("key"));
}

}  // namespace notellm::python
