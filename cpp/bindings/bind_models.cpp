#include <torch/csrc/utils/pybind.h>

#include "notellm/models/model_weights.h"
#include "option_values.h"
#include "record.h"

namespace notellm::python {
namespace {

using release_gil = py::call_guard<py::gil_scoped_release>;

void bind_config_struct(py::module_& m) {
  def_fields(py::class_<RopeOptions>(m, "RopeOptions"),
             std::pair{"head_dim", &RopeOptions::head_dim}, std::pair{"theta", &RopeOptions::theta},
             std::pair{"is_llama3", &RopeOptions::is_llama3},
             std::pair{"factor", &RopeOptions::factor},
             std::pair{"low_frequency_factor", &RopeOptions::low_frequency_factor},
             std::pair{"high_frequency_factor", &RopeOptions::high_frequency_factor},
             std::pair{"original_max_positions", &RopeOptions::original_max_positions});
  def_fields(py::class_<DecoderConfig>(m, "DecoderConfig"),
             std::pair{"width", &DecoderConfig::width},
             std::pair{"inner_width", &DecoderConfig::inner_width},
             std::pair{"layers", &DecoderConfig::layers}, std::pair{"heads", &DecoderConfig::heads},
             std::pair{"key_heads", &DecoderConfig::key_heads},
             std::pair{"vocabulary", &DecoderConfig::vocabulary},
             std::pair{"max_positions", &DecoderConfig::max_positions},
             std::pair{"norm_epsilon", &DecoderConfig::norm_epsilon},
             std::pair{"rope", &DecoderConfig::rope});
}

void bind_adapters(py::module_& m) {
  py::class_<Adapter>(m, "Adapter")
      .def(py::init<>(), "Adds nothing, as where a matrix has no adapter.")
      .def(py::init([](at::Tensor down, at::Tensor up, double scale) {
             return Adapter{std::move(down), std::move(up), scale};
           }),
           py::arg("down"), py::arg("up"), py::arg("scale"))
      .def("__reduce__", [](const py::object& self) {  // copies and pickles
        const auto& [down, up, scale] = self.cast<const Adapter&>();
        const py::tuple given = down.defined() ? py::make_tuple(down, up, scale) : py::tuple();
        return py::make_tuple(py::type::of(self), given);
      });
  def_fields(py::class_<LayerAdapters>(m, "LayerAdapters"),
             std::pair{"query", &LayerAdapters::query}, std::pair{"key", &LayerAdapters::key},
             std::pair{"value", &LayerAdapters::value}, std::pair{"output", &LayerAdapters::output},
             std::pair{"gate", &LayerAdapters::gate}, std::pair{"up", &LayerAdapters::up},
             std::pair{"down", &LayerAdapters::down}, std::pair{"dropout", &LayerAdapters::dropout},
             std::pair{"layer", &LayerAdapters::layer});
}

void bind_weights(py::module_& m) {
  def_fields(
      py::class_<LayerWeights>(m, "LayerWeights"),
      std::pair{"input_norm", &LayerWeights::input_norm}, std::pair{"query", &LayerWeights::query},
      std::pair{"key", &LayerWeights::key}, std::pair{"value", &LayerWeights::value},
      std::pair{"query_bias", &LayerWeights::query_bias},
      std::pair{"key_bias", &LayerWeights::key_bias},
      std::pair{"value_bias", &LayerWeights::value_bias},
      std::pair{"query_norm", &LayerWeights::query_norm},
      std::pair{"key_norm", &LayerWeights::key_norm}, std::pair{"output", &LayerWeights::output},
      std::pair{"output_bias", &LayerWeights::output_bias},
      std::pair{"post_norm", &LayerWeights::post_norm}, std::pair{"gate", &LayerWeights::gate},
      std::pair{"up", &LayerWeights::up}, std::pair{"down", &LayerWeights::down},
      std::pair{"gate_bias", &LayerWeights::gate_bias},
      std::pair{"up_bias", &LayerWeights::up_bias},
      std::pair{"down_bias", &LayerWeights::down_bias},
      std::pair{"adapters", &LayerWeights::adapters});
  py::class_<DecoderWeights>(m, "DecoderWeights")
      .def(py::init([](at::Tensor embedding, std::vector<LayerWeights> layers, at::Tensor norm) {
             return DecoderWeights{std::move(embedding), std::move(layers), std::move(norm)};
           }),
           py::arg("embedding"), py::arg("layers"), py::arg("norm"));
  py::class_<ModelWeights>(m, "ModelWeights")
      .def(py::init([](const DecoderConfig& config, const DecoderWeights& weights, at::Tensor head,
                       const std::optional<at::Tensor>& projection) {
             return ModelWeights{config, weights, std::move(head),
                                 projection.value_or(at::Tensor())};
           }),
           py::arg("config"), py::arg("weights"), py::arg("head"),
           py::arg("projection") = py::none());
}

void bind_plan(py::module_& m) {
  py::class_<Segments>(m, "Segments")
      .def(py::init<std::vector<int64_t>, std::vector<int64_t>>(), py::arg("offsets"),
           py::arg("parents"))
      .def("__len__", &Segments::count)
      .def_property_readonly("tokens", &Segments::tokens)
      .def("positions", &Segments::positions)
      .def("mask", &Segments::mask);
  py::class_<DecoderPlan>(m, "DecoderPlan")
      .def_property_readonly("dtype", [](const DecoderPlan& plan) { return plan.dtype; });

  m.def(
      "plan_decoder",
      [](const Segments& segments, const DecoderConfig& config, at::ScalarType compute,
         at::Device device, const std::optional<std::vector<int64_t>>& read_rows) {
        std::optional<std::span<const int64_t>> rows;
        if (read_rows) rows = *read_rows;
        return plan_decoder(segments, config, compute, device, rows);
      },
      py::arg("segments"), py::arg("config"), py::arg("compute"), py::arg("device"),
      py::arg("read_rows") = py::none(), release_gil());
  m.def(
      "with_dropout",
      [](const DecoderPlan& plan, const Segments& segments, const std::vector<int64_t>& tokens,
         const py::object& seed) {
        const uint64_t known = to_seed("with_dropout", seed);
        const py::gil_scoped_release release;
        return with_dropout(plan, segments, tokens, known);
      },
      py::arg("plan"), py::arg("segments"), py::arg("tokens"), py::arg("seed"));
}

void bind_passes(py::module_& m) {
  m.def(
      "decoder_layer",
      [](const at::Tensor& x, const LayerWeights& weights, const DecoderConfig& config,
         const DecoderPlan& plan,
         bool is_last) { return decoder_layer(x, weights, config, plan, is_last); },
      py::arg("x"), py::arg("weights"), py::arg("config"), py::arg("plan"),
      py::arg("is_last") = false, release_gil());
  m.def(
      "decoder_states",
      [](const at::Tensor& tokens, const DecoderWeights& weights, const DecoderConfig& config,
         const DecoderPlan& plan) { return decoder_states(tokens, weights, config, plan); },
      py::arg("tokens"), py::arg("weights"), py::arg("config"), py::arg("plan"), release_gil());
  m.def("head_logits", &head_logits, py::arg("states"), py::arg("head"), py::arg("compute"),
        release_gil());
}

void bind_prepared_weights(py::module_& m) {
  m.def(
      "prepare_weights",
      [](const DecoderWeights& weights, at::ScalarType compute, const std::string& storage) {
        const auto kept = named<WeightStorage>(storage, "prepare_weights", "storage");
        py::gil_scoped_release release;
        return prepare_weights(weights, compute, kept);
      },
      py::arg("weights"), py::arg("compute"), py::arg("storage") = "same");
  m.def("matrix_bytes", &matrix_bytes, py::arg("prepared"));
}

}  // namespace

void bind_models(py::module_& m) {
  bind_config_struct(m);
  bind_adapters(m);
  bind_weights(m);
  bind_plan(m);
  bind_passes(m);
  bind_prepared_weights(m);
}

}  // namespace notellm::python
