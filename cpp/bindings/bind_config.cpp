#include <pybind11/stl.h>

#include "bindings.h"
#include "notellm/config/fields.h"
#include "notellm/config/schema.h"
#include "notellm/config/yaml.h"
#include "notellm/util/check.h"

namespace notellm::python {
namespace {

template <typename Group>
py::dict to_dict(const Group& group) {
  py::dict result;
  visit_fields(group, [&](const char* key, auto member, const Rule&) {
    const auto& field = group.*member;
    if constexpr (is_config_group<std::remove_cvref_t<decltype(field)>>) {
      result[key] = to_dict(field);
    } else {
      result[key] = field;
    }
  });
  return result;
}

// A read-only class with the group's keys as attributes.
template <typename Group>
void bind_group(py::module_& m, const char* name) {
  py::class_<Group> group(m, name);
  visit_fields(Group(),
               [&](const char* key, auto member, const Rule&) { group.def_readonly(key, member); });
  group.def(py::init<>())
      .def("to_dict", &to_dict<Group>)
      .def(
          "__eq__", [](const Group& a, const Group& b) { return a == b; }, py::is_operator())
      .def("__repr__", [name](const Group& self) {
        return std::string(name) + "(" + py::repr(to_dict(self)).template cast<std::string>() + ")";
      });
}

void check_key(const std::string& key) {
  const std::string complaint = unknown_key(key);
  if (!complaint.empty()) throw ConfigError(complaint);
}

}  // namespace

void bind_config(py::module_& m) {
  bind_group<DataConfig>(m, "DataConfig");
  bind_group<MiningConfig>(m, "MiningConfig");
  bind_group<PromptConfig>(m, "PromptConfig");
  bind_group<ModelConfig>(m, "ModelConfig");
  bind_group<LoraConfig>(m, "LoraConfig");
  bind_group<LossConfig>(m, "LossConfig");
  bind_group<TrainConfig>(m, "TrainConfig");
  bind_group<EmbedConfig>(m, "EmbedConfig");
  bind_group<EvaluationConfig>(m, "EvaluationConfig");
  bind_group<GenerationConfig>(m, "GenerationConfig");
  bind_group<Config>(m, "Config");
  m.def("read_config", &read_config, py::arg("path"));
  m.def("parse_config", &parse_config, py::arg("text"), py::arg("name") = "");
  m.def("config_keys", &config_keys);
  m.def("check_key", &check_key, py::arg("key"));
  m.def("resolve_plain_scalar", &resolve_plain_scalar, py::arg("text"));
}

}  // namespace notellm::python
