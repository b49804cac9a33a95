#include <torch/extension.h>

#include "bindings.h"
#include "notellm/generation/decode.h"
#include "notellm/generation/score.h"

namespace notellm::python {

void bind_generation(py::module_& m) {
  m.def(
      "generate_greedy",
      [](const DecoderWeights& weights, const at::Tensor& head, const DecoderConfig& config,
         const PromptSet& prompts, const TokenizedNotes& tokenized,
         const std::vector<NotePrompt>& requests, int64_t max_new_tokens, at::ScalarType compute,
         int64_t batch_tokens, const py::object& progress) {
        const ProgressFn report_to = to_progress(progress);
        py::gil_scoped_release release;
        return generate_greedy(weights, head, config, prompts, tokenized, requests,
                               {max_new_tokens, compute, batch_tokens}, report_to);
      },
      py::arg("weights"), py::arg("head"), py::arg("config"), py::arg("prompts"),
      py::arg("tokenized"), py::arg("requests"), py::arg("max_new_tokens"), py::arg("compute"),
      py::arg("batch_tokens"), py::arg("progress") = py::none());
  py::class_<Candidates>(m, "Candidates").def_readonly("labels", &Candidates::labels);
  m.def("category_candidates", &category_candidates, py::arg("prompts"), py::arg("categories"));
  m.def(
      "score_categories",
      [](const DecoderWeights& weights, const at::Tensor& head, const DecoderConfig& config,
         const PromptSet& prompts, const TokenizedNotes& tokenized,
         const std::vector<int64_t>& notes, const Candidates& candidates, at::ScalarType compute,
         int64_t batch_tokens, int64_t max_logits, const py::object& progress) {
        const ProgressFn report_to = to_progress(progress);
        py::gil_scoped_release release;
        return score_categories(weights, head, config, prompts, tokenized, notes, candidates,
                                {compute, batch_tokens, max_logits}, report_to);
      },
      py::arg("weights"), py::arg("head"), py::arg("config"), py::arg("prompts"),
      py::arg("tokenized"), py::arg("notes"), py::arg("candidates"), py::arg("compute"),
      py::arg("batch_tokens"), py::arg("max_logits"), py::arg("progress") = py::none());
}

}  // namespace notellm::python
