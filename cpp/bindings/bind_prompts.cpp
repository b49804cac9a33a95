#include <pybind11/native_enum.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>

#include "arrays.h"
#include "notellm/prompts/batching.h"
#include "notellm/prompts/packing.h"
#include "notellm/prompts/prefix_forest.h"
#include "notellm/prompts/sampling.h"
#include "notellm/prompts/template.h"
#include "notellm/prompts/tokens.h"

namespace notellm::python {
namespace {

void bind_enums(py::module_& m) {
  py::native_enum<Task>(m, "Task", "enum.Enum")
      .value("category", Task::kCategory)
      .value("hashtags", Task::kHashtags)
      .finalize();
  py::native_enum<PackMode>(m, "PackMode", "enum.Enum")
      .value("train", PackMode::kTrain)
      .value("embed", PackMode::kEmbed)
      .value("generate", PackMode::kGenerate)
      .finalize();
  py::native_enum<CountPolicy>(m, "CountPolicy", "enum.Enum")
      .value("one", CountPolicy::kOne)
      .value("uniform", CountPolicy::kUniform)
      .value("all", CountPolicy::kAll)
      .finalize();
  py::native_enum<PieceKind>(m, "PieceKind", "enum.Enum")
      .value("text", PieceKind::kText)
      .value("title", PieceKind::kTitle)
      .value("topics", PieceKind::kTopics)
      .value("content", PieceKind::kContent)
      .value("emb", PieceKind::kEmb)
      .value("category", PieceKind::kCategory)
      .value("hashtags", PieceKind::kHashtags)
      .finalize();
}

void bind_tokens(py::module_& m) {
  py::class_<TokenLists> lists(m, "TokenLists");
  lists
      .def(py::init([](const Array<int32_t>& ids, const Array<int64_t>& offsets) {
             TokenLists made{to_vector("TokenLists: ids", ids),
                             to_vector("TokenLists: offsets", offsets)};
             check_offsets("TokenLists", made.offsets, std::ssize(made.ids));
             return made;
           }),
           py::arg("ids"), py::arg("offsets"))
      .def("__len__", &TokenLists::size);
  def_checked_array(lists, "ids", &TokenLists::ids);
  def_checked_array(lists, "offsets", &TokenLists::offsets);

  py::class_<TokenizedNotes> notes(
      m, "TokenizedNotes", "Notes, tokenised and truncated once; made by `Prompt.tokenize`.");
  notes
      .def(py::init([](const TokenLists& titles, const TokenLists& contents,
                       const TokenLists& categories, const TokenLists& hashtags,
                       const Array<int64_t>& hashtag_offsets) {
             TokenizedNotes made{titles, contents, categories, hashtags,
                                 to_vector("TokenizedNotes: hashtag_offsets", hashtag_offsets)};
             validate(made);
             return made;
           }),
           py::arg("titles"), py::arg("contents"), py::arg("categories"), py::arg("hashtags"),
           py::arg("hashtag_offsets"))
      .def("__len__", &TokenizedNotes::size)
      .def_readonly("titles", &TokenizedNotes::titles)
      .def_readonly("contents", &TokenizedNotes::contents)
      .def_readonly("categories", &TokenizedNotes::categories)
      .def_readonly("hashtags", &TokenizedNotes::hashtags);
  def_checked_array(notes, "hashtag_offsets", &TokenizedNotes::hashtag_offsets);
}

using Pieces = std::vector<std::pair<PieceKind, std::vector<int32_t>>>;

PromptTemplate to_template(const Pieces& pieces) {
  PromptTemplate made;
  for (const auto& [kind, ids] : pieces) made.pieces.push_back({kind, ids});
  return made;
}

void bind_templates(py::module_& m) {
  m.def(
      "check_pieces",
      [](const std::vector<PieceKind>& kinds, Task task) { template_parts(kinds, task); },
      py::arg("kinds"), py::arg("task"));
  py::class_<PromptSet>(m, "PromptSet")
      .def(py::init([](const Pieces& category, const std::vector<Pieces>& hashtags,
                       const std::vector<int32_t>& bos, const std::vector<int32_t>& separator,
                       int32_t eos, bool reads_emb) {
             PromptSet made{to_template(category), {}, bos, separator, eos, reads_emb};
             for (const Pieces& pieces : hashtags) made.hashtags.push_back(to_template(pieces));
             validate(made);
             return made;
           }),
           py::kw_only(), py::arg("category"), py::arg("hashtags"), py::arg("bos"),
           py::arg("separator"), py::arg("eos"), py::arg("reads_emb") = false);
}

void bind_forest(py::module_& m) {
  py::class_<PrefixForest> forest(m, "PrefixForest",
                                  R"(n sequences as T tokens in S segments; int64 arrays.

Attributes:
    tokens: Shape ``(T,)``.
    segment_offsets: Shape ``(S+1,)``; segment s is ``tokens[offsets[s]:offsets[s + 1]]``.
    segment_parents: Shape ``(S,)``; the segment it continues, -1 for none.
    last: Shape ``(n,)``; index of the sequence's last token, -1 for an empty sequence.
)");
  def_array(forest, "tokens", &PrefixForest::tokens);
  def_array(forest, "segment_offsets", &PrefixForest::segment_offsets);
  def_array(forest, "segment_parents", &PrefixForest::segment_parents);
  def_array(forest, "last", &PrefixForest::last);
  m.def(
      "prefix_forest",
      [](const TokenLists& sequences, int64_t min_shared, int64_t own_tail) {
        return prefix_forest(sequences.spans(), {min_shared, own_tail});
      },
      py::arg("sequences"), py::kw_only(), py::arg("min_shared") = ForestOptions().min_shared,
      py::arg("own_tail") = 0, py::call_guard<py::gil_scoped_release>());
  m.def(
      "prefix_batches",
      [](const TokenLists& sequences, int64_t budget, int64_t room, int64_t min_shared,
         int64_t own_tail) {
        const PrefixBatches made =
            prefix_batches(sequences, {budget, room, {min_shared, own_tail}});
        return std::make_tuple(to_array(made.rows), to_array(made.groups), to_array(made.batches));
      },
      py::arg("sequences"), py::kw_only(), py::arg("budget"), py::arg("room") = 0,
      py::arg("min_shared") = ForestOptions().min_shared, py::arg("own_tail") = 0);
  m.def(
      "path_to",
      [](const Array<int64_t>& offsets, const Array<int64_t>& parents, int64_t token) {
        const auto starts = as_span("path_to: segment_offsets", offsets);
        const auto above = as_span("path_to: segment_parents", parents);
        check_path("path_to", starts, above, token);
        return to_array(path_to(starts, above, token));
      },
      py::arg("segment_offsets"), py::arg("segment_parents"), py::arg("token"));
}

void bind_note_prompt(py::module_& m) {
  py::class_<NotePrompt>(
      m, "NotePrompt",
      "One row of a batch: a note, its task, how many hashtags are asked for, which of the note's "
      "hashtags are to be written, in order, and whether training teaches it to write.")
      .def(py::init(
               [](int64_t note, Task task, int count, std::vector<int32_t> chosen, bool writes) {
                 return NotePrompt{note, task, count, std::move(chosen), writes};
               }),
           py::arg("note"), py::arg("task"), py::arg("count") = 0,
           py::arg("chosen") = std::vector<int32_t>{}, py::arg("writes") = true)
      .def_readonly("note", &NotePrompt::note)
      .def_readonly("task", &NotePrompt::task)
      .def_readonly("count", &NotePrompt::count)
      .def_readonly("chosen", &NotePrompt::chosen)
      .def_readonly("writes", &NotePrompt::writes);
}

void bind_packed_batch(py::module_& m) {
  py::class_<PackedBatch> batch(m, "PackedBatch",
                                R"(n prompts as T tokens in S segments; int64 arrays.

Attributes:
    tokens: Shape ``(T,)``.
    segment_offsets: Shape ``(S+1,)``; segment s is ``tokens[offsets[s]:offsets[s + 1]]``.
    segment_parents: Shape ``(S,)``; the segment it continues, -1 for none.
    root_tokens: Shape ``(n,)``; tokens of the note's path before the prompt's first slot.
    compression: Shape ``(n,)``; index of the token whose state is the embedding: just before [EMB], or [EMB].
    last: Shape ``(n,)``; index of the note's last token.
    label_positions: Shape ``(M,)``; the state of this token must predict the label.
    labels: Shape ``(M,)``.
    label_offsets: Shape ``(n+1,)``; note i owns labels ``[offsets[i], offsets[i + 1])``.

Notes share the tokens that they begin with, so indices need not ascend and may repeat.
)");
  def_array(batch, "tokens", &PackedBatch::tokens);
  def_array(batch, "segment_offsets", &PackedBatch::segment_offsets);
  def_array(batch, "segment_parents", &PackedBatch::segment_parents);
  def_array(batch, "root_tokens", &PackedBatch::root_tokens);
  def_array(batch, "compression", &PackedBatch::compression);
  def_array(batch, "last", &PackedBatch::last);
  def_array(batch, "label_positions", &PackedBatch::label_positions);
  def_array(batch, "labels", &PackedBatch::labels);
  def_array(batch, "label_offsets", &PackedBatch::label_offsets);
  batch.def("__len__", [](const PackedBatch& self) { return self.last.size(); });
  batch.def(
      "path",
      [](const PackedBatch& self, int64_t i) {
        if (i < 0 || i >= std::ssize(self.last)) {
          throw py::index_error("PackedBatch.path: the prompt must be in [0, " +
                                std::to_string(self.last.size()) + "), but is " +
                                std::to_string(i));
        }
        return to_array(path_to(self.segment_offsets, self.segment_parents, self.last[i]));
      },
      py::arg("i"), "Indices of prompt i's tokens, in the order of its positions.");
}

void bind_packing(py::module_& m) {
  bind_note_prompt(m);
  bind_packed_batch(m);
  m.def(
      "lay_out",
      [](const PromptSet& set, const TokenizedNotes& notes, const std::vector<NotePrompt>& prompts,
         PackMode mode) { return lay_out(set, notes, prompts, mode).tokens; },
      py::arg("prompts"), py::arg("notes"), py::arg("rows"), py::arg("mode"),
      py::call_guard<py::gil_scoped_release>());
  m.def(
      "pack",
      [](const PromptSet& set, const TokenizedNotes& notes, const std::vector<NotePrompt>& prompts,
         PackMode mode) { return pack(set, notes, prompts, mode); },
      py::arg("prompts"), py::arg("notes"), py::arg("rows"), py::arg("mode"),
      py::call_guard<py::gil_scoped_release>());
  m.def(
      "piece_spans",
      [](const PromptSet& set, const TokenizedNotes& notes, const NotePrompt& prompt) {
        std::vector<std::tuple<int64_t, int64_t, int64_t>> spans;
        for (const auto& [piece, begin, end] : piece_spans(set, notes, prompt)) {
          spans.emplace_back(piece, begin, end);
        }
        return spans;
      },
      py::arg("prompts"), py::arg("notes"), py::arg("row"));
}

PairSampler made_sampler(const Array<int64_t>& sources,
                         const Array<int64_t>& targets,
                         const Array<int64_t>& hashtag_counts,
                         int64_t pairs_per_step,
                         double hashtag_ratio,
                         const py::object& seed,
                         CountPolicy count_policy,
                         int max_count,
                         const Array<int64_t>& negative_offsets,
                         const Array<int64_t>& negatives,
                         int64_t negatives_per_pair) {
  return PairSampler(to_vector("PairSampler: sources", sources),
                     to_vector("PairSampler: targets", targets),
                     to_vector("PairSampler: hashtag_counts", hashtag_counts),
                     {pairs_per_step, hashtag_ratio, to_seed("PairSampler", seed), count_policy,
                      max_count, negatives_per_pair},
                     {to_vector("PairSampler: negative_offsets", negative_offsets),
                      to_vector("PairSampler: negatives", negatives)});
}

void bind_sampling(py::module_& m) {
  py::class_<PlannedBatch> planned(
      m, "PlannedBatch", R"(One step of a training run: 2B rows in pairs, then H hard negatives.

Attributes:
    note_ids: Shape ``(2B+H,)``; indices of notes, rows 2b and 2b + 1 are pair b.
    prompts: The same rows with their tasks; negatives have the category task, and do not write.
    pairs: B.
    negative_offsets: Shape ``(B+1,)``; pair b brings the rows ``2B + [offsets[b], offsets[b + 1])``.
    hashtag_shortfall: Hashtag tasks that found no note with hashtags.
)");
  def_array(planned, "note_ids", &PlannedBatch::note_ids);
  def_array(planned, "negative_offsets", &PlannedBatch::negative_offsets);
  planned.def_readonly("prompts", &PlannedBatch::prompts)
      .def_property_readonly("pairs", &PlannedBatch::pairs)
      .def_readonly("hashtag_shortfall", &PlannedBatch::hashtag_shortfall);

  py::class_<PairSampler>(m, "PairSampler", R"(Plans batches; see `Prompt.sampler`.

Attributes:
    steps_per_epoch: Full batches in one pass through the pairs.
)")
      .def(py::init(&made_sampler), py::arg("sources"), py::arg("targets"),
           py::arg("hashtag_counts"), py::kw_only(), py::arg("pairs_per_step"),
           py::arg("hashtag_ratio"), py::arg("seed"), py::arg("count_policy"), py::arg("max_count"),
           py::arg("negative_offsets") = Array<int64_t>(0),
           py::arg("negatives") = Array<int64_t>(0), py::arg("negatives_per_pair") = 0)
      .def_property_readonly("steps_per_epoch", &PairSampler::steps_per_epoch)
      .def("plan", py::overload_cast<int64_t>(&PairSampler::plan, py::const_), py::arg("step"),
           "The batch of one step; steps count from 0 and run through the epochs.",
           py::call_guard<py::gil_scoped_release>())
      .def(
          "plan",
          [](const PairSampler& self, int64_t step, const Array<int64_t>& pairs) {
            return self.plan(step, to_vector("PairSampler: pairs", pairs));
          },
          py::arg("step"), py::arg("pairs"),
          "The batch of one step that consists of these pairs, shape ``(B,)``; tasks, hashtags and "
          "negatives are drawn as ever.");
}

}  // namespace

void bind_prompts(py::module_& m) {
  bind_enums(m);
  bind_tokens(m);
  bind_templates(m);
  bind_forest(m);
  bind_packing(m);
  bind_sampling(m);
}

}  // namespace notellm::python
