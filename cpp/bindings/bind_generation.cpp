#include <torch/csrc/utils/pybind.h>

#include <utility>

#include "bindings.h"
#include "notellm/generation/decode.h"
#include "notellm/generation/score.h"

namespace notellm::python {

void bind_generation(py::module_& m) {
  py::class_<SearchOptions>(m, "SearchOptions")
      .def(py::init<int64_t, double, int64_t, std::vector<int32_t>>(), py::kw_only(),
           py::arg("beams") = 1, py::arg("length_penalty") = 1.0, py::arg("max_new_tokens") = 24,
           py::arg("stop_tokens") = std::vector<int32_t>());
  py::class_<DrawOptions>(m, "DrawOptions")
      .def(py::init<double, int64_t, double, uint64_t>(), py::kw_only(),
           py::arg("temperature") = 0.0, py::arg("top_k") = 0, py::arg("top_p") = 1.0,
           py::arg("seed") = 0);
  py::class_<DecodeOptions>(m, "DecodeOptions")
      .def(py::init<SearchOptions, DrawOptions, double, at::ScalarType, int64_t>(), py::kw_only(),
           py::arg("search") = SearchOptions(), py::arg("draw") = DrawOptions(),
           py::arg("repetition_penalty") = 1.0, py::arg("compute"), py::arg("batch_tokens") = 8192);
  py::class_<OutputGrammar>(m, "OutputGrammar")
      .def(py::init<const PromptSet&, TokenLists, Task, int64_t>(), py::arg("prompts"),
           py::arg("values"), py::arg("task"), py::arg("max_values"))
      .def("longest_value", &OutputGrammar::longest_value);
  m.def(
      "generate",
      [](const LanguageModel& model, const PromptSet& prompts, const TokenizedNotes& notes,
         const std::vector<NotePrompt>& requests, const DecodeOptions& options,
         const OutputGrammar* grammar, std::vector<std::vector<int64_t>> banned,
         const py::object& progress) {
        const ProgressFn report_to = to_progress(progress);
        py::gil_scoped_release release;
        return generate(model, {prompts, notes}, requests, options, {grammar, std::move(banned)},
                        report_to);
      },
      py::arg("model"), py::arg("prompts"), py::arg("notes"), py::arg("requests"),
      py::arg("options"), py::arg("grammar") = py::none(),
      py::arg("banned") = std::vector<std::vector<int64_t>>(), py::arg("progress") = py::none());
  py::class_<Candidates>(m, "Candidates").def_readonly("labels", &Candidates::labels);
  m.def("category_candidates", &category_candidates, py::arg("prompts"), py::arg("categories"));
  m.def(
      "score_categories",
      [](const LanguageModel& model, const PromptSet& prompts, const TokenizedNotes& notes,
         const std::vector<int64_t>& indices, const Candidates& candidates, at::ScalarType compute,
         int64_t batch_tokens, int64_t max_logits, const py::object& progress) {
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
