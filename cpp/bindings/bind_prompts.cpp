#include <pybind11/native_enum.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>

#include "bindings.h"
#include "notellm/prompts/packing.h"
#include "notellm/prompts/sampling.h"
#include "notellm/prompts/template.h"
#include "notellm/prompts/tokens.h"

namespace notellm::python {
namespace {

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

template <typename T>
std::vector<T> to_vector(const Array<T>& array) {
  if (array.ndim() != 1) throw py::value_error("prompts: an array must have one dimension");
  return {array.data(), array.data() + array.size()};
}

// A numpy view of a vector inside `owner`, which the view keeps alive.
template <typename T>
py::array_t<T> view(const py::object& owner, const std::vector<T>& values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data(), owner);
}

// Defines a read-only property that shows a vector member as a numpy array without a copy.
template <typename Class, typename T>
void def_array(py::class_<Class>& cls, const char* name, std::vector<T> Class::*member) {
  cls.def_property_readonly(name, [member](const py::object& self) {
    return view(self, self.cast<const Class&>().*member);
  });
}

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
      .value("emb", PieceKind::kCompression)
      .value("category", PieceKind::kCategory)
      .value("hashtags", PieceKind::kHashtags)
      .finalize();
}

void bind_tokens(py::module_& m) {
  py::class_<TokenLists> lists(m, "TokenLists");
  lists
      .def(py::init([](const Array<int32_t>& ids, const Array<int64_t>& offsets) {
             TokenLists made{to_vector(ids), to_vector(offsets)};
             check_offsets("TokenLists", made.offsets, std::ssize(made.ids));
             return made;
           }),
           py::arg("ids"), py::arg("offsets"))
      .def("__len__", &TokenLists::size);
  def_array(lists, "ids", &TokenLists::ids);
  def_array(lists, "offsets", &TokenLists::offsets);

  py::class_<TokenizedNotes> notes(m, "TokenizedNotes");
  notes
      .def(
          py::init([](const TokenLists& titles, const TokenLists& contents,
                      const TokenLists& categories, const TokenLists& hashtags,
                      const Array<int64_t>& hashtag_offsets) {
            TokenizedNotes made{titles, contents, categories, hashtags, to_vector(hashtag_offsets)};
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
  def_array(notes, "hashtag_offsets", &TokenizedNotes::hashtag_offsets);
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
                       int32_t eos) {
             PromptSet made{to_template(category), {}, bos, separator, eos};
             for (const Pieces& pieces : hashtags) made.hashtags.push_back(to_template(pieces));
             validate(made);
             return made;
           }),
           py::kw_only(), py::arg("category"), py::arg("hashtags"), py::arg("bos"),
           py::arg("separator"), py::arg("eos"));
}

void bind_packing(py::module_& m) {
  py::class_<NotePrompt>(m, "NotePrompt")
      .def(py::init([](int64_t note, Task task, int count, std::vector<int32_t> chosen) {
             return NotePrompt{note, task, count, std::move(chosen)};
           }),
           py::arg("note"), py::arg("task"), py::arg("count") = 0,
           py::arg("chosen") = std::vector<int32_t>{})
      .def_readonly("note", &NotePrompt::note)
      .def_readonly("task", &NotePrompt::task)
      .def_readonly("count", &NotePrompt::count)
      .def_readonly("chosen", &NotePrompt::chosen);

  py::class_<PackedBatch> batch(m, "PackedBatch");
  def_array(batch, "tokens", &PackedBatch::tokens);
  def_array(batch, "segment_offsets", &PackedBatch::segment_offsets);
  def_array(batch, "segment_parents", &PackedBatch::segment_parents);
  def_array(batch, "compression", &PackedBatch::compression);
  def_array(batch, "last", &PackedBatch::last);
  def_array(batch, "label_positions", &PackedBatch::label_positions);
  def_array(batch, "labels", &PackedBatch::labels);
  def_array(batch, "label_offsets", &PackedBatch::label_offsets);
  batch.def("__len__", [](const PackedBatch& self) { return self.last.size(); });

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

void bind_sampling(py::module_& m) {
  py::class_<PlannedBatch> planned(m, "PlannedBatch");
  def_array(planned, "note_ids", &PlannedBatch::note_ids);
  planned.def_readonly("prompts", &PlannedBatch::prompts)
      .def_readonly("hashtag_shortfall", &PlannedBatch::hashtag_shortfall);

  py::class_<PairSampler>(m, "PairSampler")
      .def(py::init([](const Array<int64_t>& sources, const Array<int64_t>& targets,
                       const Array<int64_t>& hashtag_counts, int64_t pairs_per_step,
                       double hashtag_share, uint64_t seed, CountPolicy count_policy,
                       int max_count) {
             return PairSampler(to_vector(sources), to_vector(targets), to_vector(hashtag_counts),
                                {pairs_per_step, hashtag_share, seed, count_policy, max_count});
           }),
           py::arg("sources"), py::arg("targets"), py::arg("hashtag_counts"), py::kw_only(),
           py::arg("pairs_per_step"), py::arg("hashtag_share"), py::arg("seed"),
           py::arg("count_policy"), py::arg("max_count"))
      .def_property_readonly("steps_per_epoch", &PairSampler::steps_per_epoch)
      .def("plan", &PairSampler::plan, py::arg("step"), py::call_guard<py::gil_scoped_release>());
}

}  // namespace

void bind_prompts(py::module_& m) {
  bind_enums(m);
  bind_tokens(m);
  bind_templates(m);
  bind_packing(m);
  bind_sampling(m);
}

}  // namespace notellm::python
