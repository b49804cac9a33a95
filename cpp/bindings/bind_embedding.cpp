#include <torch/csrc/utils/pybind.h>

#include "bindings.h"
#include "notellm/embedding/embed.h"

namespace notellm::python {

void bind_embedding(py::module_& m) {
  py::enum_<Pooling>(m, "Pooling")
      .value("compression", Pooling::kCompression)
      .value("mean", Pooling::kMean);
  m.def(
      "embed_notes",
      [](const DecoderWeights& weights, const DecoderConfig& config,
         const std::optional<at::Tensor>& projection, const PromptSet& prompts,
         const TokenizedNotes& tokenized, const std::vector<int64_t>& notes, Pooling pooling,
         at::ScalarType compute, int64_t batch_tokens, WeightStorage storage,
         const py::object& progress) {
        const ProgressFn report_to = to_progress(progress);
        EmbedReport report;
        at::Tensor vectors;
        {
          py::gil_scoped_release release;
          vectors =
              embed_notes(weights, config, projection.value_or(at::Tensor()), prompts, tokenized,
                          notes, {pooling, compute, batch_tokens, storage}, report_to, &report);
        }
        return std::make_tuple(vectors, report.computed_tokens, report.sequence_tokens,
                               report.duplicate_notes, report.weight_bytes);
      },
      py::arg("weights"), py::arg("config"), py::arg("projection"), py::arg("prompts"),
      py::arg("tokenized"), py::arg("notes"), py::arg("pooling"), py::arg("compute"),
      py::arg("batch_tokens"), py::arg("storage"), py::arg("progress") = py::none());
}

}  // namespace notellm::python
