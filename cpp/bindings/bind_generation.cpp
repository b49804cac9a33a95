#include <torch/csrc/utils/pybind.h>

#include <utility>

#include "bindings.h"
#include "notellm/generation/decode.h"
#include "notellm/generation/score.h"

namespace notellm::python {

void bind_generation(py::module_& m) {
  py::class_<OutputGrammar>(m, "OutputGrammar")
      .def(py::init<const PromptSet&, TokenLists, Task, int64_t>(), py::arg("prompts"),
           py::arg("values"), py::arg("task"), py::arg("max_values"))
      .def("longest_value", &OutputGrammar::longest_value);
  m.def(
      "generate",
      [](const ModelWeights& model, const PromptSet& prompts, const TokenizedNotes& notes,
         const std::vector<NotePrompt>& requests, DecodingOptions options,
         const OutputGrammar* grammar, std::vector<std::vector<int64_t>> banned,
         const py::object& seed, std::vector<int32_t> stop_tokens, at::ScalarType compute,
         const py::object& progress) {
        options.seed = to_seed("generate", seed);
        options.stop_tokens = std::move(stop_tokens);
        options.compute = compute;
        const ProgressFn report_to = to_progress(progress);
        py::gil_scoped_release release;
        return generate(model, {prompts, notes}, requests, options, {grammar, std::move(banned)},
                        report_to);
      },
      py::arg("model"), py::arg("prompts"), py::arg("notes"), py::arg("requests"),
      py::arg("options"), py::arg("grammar") = py::none(),
      py::arg("banned") = std::vector<std::vector<int64_t>>(), py::kw_only(), py::arg("seed") = 0,
      py::arg("stop_tokens") = std::vector<int32_t>(), py::arg("compute"),
      py::arg("progress") = py::none());
  py::class_<CategoryTokens>(m, "CategoryTokens").def_readonly("labels", &CategoryTokens::labels);
  m.def("category_tokens", &category_tokens, py::arg("prompts"), py::arg("categories"));
  m.def(
      "score_categories",
      [](const ModelWeights& model, const PromptSet& prompts, const TokenizedNotes& notes,
         const std::vector<int64_t>& indices, const CategoryTokens& candidates,
         at::ScalarType compute, int64_t batch_tokens, int64_t max_logits,
         const py::object& progress) {
        const ProgressFn report_to = to_progress(progress);
        py::gil_scoped_release release;
        return score_categories(model, {prompts, notes}, indices, candidates,
                                {compute, batch_tokens, max_logits}, report_to);
      },
      py::arg("model"), py::arg("prompts"), py::arg("notes"), py::arg("indices"),
      py::arg("candidates"), py::arg("compute"), py::arg("batch_tokens"), py::arg("max_logits"),
      py::arg("progress") = py::none());
}

}  // namespace notellm::python
