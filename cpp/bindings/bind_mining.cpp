#include <pybind11/stl.h>

#include <memory>
#include <optional>

#include "arrays.h"
#include "notellm/mining/cooccurrence.h"

namespace notellm::python {
namespace {

std::shared_ptr<Cooccurrence> mine(const Array<int64_t>& users,
                                   const Array<int64_t>& notes,
                                   const std::optional<Array<int64_t>>& times,
                                   const std::optional<Array<int8_t>>& events,
                                   int64_t user_count,
                                   int64_t note_count,
                                   bool is_ordered,
                                   MiningOptions options,
                                   int threads,
                                   const py::object& progress) {
  options.threads = threads;
  InteractionLog log{.users = as_span("mine_pairs: users", users),
                     .notes = as_span("mine_pairs: notes", notes),
                     .times = {},
                     .events = {},
                     .user_count = user_count,
                     .note_count = note_count,
                     .is_ordered = is_ordered};
  if (times) log.times = as_span("mine_pairs: times", *times);
  if (events) log.events = as_span("mine_pairs: events", *events);
  const ProgressFn report = to_progress(progress);
  py::gil_scoped_release release;
  return std::make_shared<Cooccurrence>(
      mine_cooccurrence(group_by_user(log, report, threads), options, report));
}

void bind_report(py::module_& m) {
  py::class_<MiningReport>(m, "MiningReport")
      .def_readonly("users", &MiningReport::users)
      .def_readonly("users_too_long", &MiningReport::users_too_long)
      .def_readonly("users_with_one_note", &MiningReport::users_with_one_note)
      .def_readonly("users_sampled", &MiningReport::users_sampled)
      .def_readonly("events", &MiningReport::events)
      .def_readonly("events_of_long_users", &MiningReport::events_of_long_users)
      .def_readonly("events_of_sampled_users", &MiningReport::events_of_sampled_users)
      .def_readonly("events_of_sampled_notes", &MiningReport::events_of_sampled_notes)
      .def_readonly("pairs_found", &MiningReport::pairs_found)
      .def_readonly("pairs_under_min_users", &MiningReport::pairs_under_min_users)
      .def_readonly("pairs_below_lower", &MiningReport::pairs_below_lower)
      .def_readonly("pairs_above_upper", &MiningReport::pairs_above_upper)
      .def_readonly("pairs_beyond_top", &MiningReport::pairs_beyond_top)
      .def_readonly("pairs_kept", &MiningReport::pairs_kept)
      .def_readonly("notes_without_events", &MiningReport::notes_without_events)
      .def_readonly("notes_sampled", &MiningReport::notes_sampled)
      .def_readonly("notes_without_partner", &MiningReport::notes_without_partner)
      .def_readonly("histogram", &MiningReport::histogram);
}

void bind_exposure(py::module_& m) {
  py::class_<Exposure, std::shared_ptr<Exposure>> cls(m, "Exposure");
  def_array(cls, "events", &Exposure::events);
  def_array(cls, "views", &Exposure::views);
  def_array(cls, "clicks", &Exposure::clicks);
  def_array(cls, "users", &Exposure::users);
}

// The compressed arrays of the Eigen matrix without a copy; SciPy's csr_matrix wraps them as is.
void bind_cooccurrence(py::module_& m) {
  py::class_<Cooccurrence, std::shared_ptr<Cooccurrence>> cls(m, "Cooccurrence");
  def_array(cls, "users", &Cooccurrence::users);
  def_array(cls, "best_first", &Cooccurrence::best_first);
  cls.def_property_readonly("indptr",
                            [](const py::object& self) {
                              const auto& scores = self.cast<const Cooccurrence&>().scores;
                              return view(self, scores.outerIndexPtr(), scores.rows() + 1);
                            })
      .def_property_readonly("indices",
                             [](const py::object& self) {
                               const auto& scores = self.cast<const Cooccurrence&>().scores;
                               return view(self, scores.innerIndexPtr(), scores.nonZeros());
                             })
      .def_property_readonly("scores",
                             [](const py::object& self) {
                               const auto& scores = self.cast<const Cooccurrence&>().scores;
                               return view(self, scores.valuePtr(), scores.nonZeros());
                             })
      .def_readonly("exposure", &Cooccurrence::exposure)
      .def_readonly("report", &Cooccurrence::report);
}

}  // namespace

void bind_mining(py::module_& m) {
  m.attr("SCORE_UNIT_BITS") = kScoreUnitBits;
  bind_report(m);
  bind_exposure(m);
  bind_cooccurrence(m);
  m.def("mine_cooccurrence", &mine, py::arg("users"), py::arg("notes"), py::arg("times").none(true),
        py::arg("events").none(true), py::arg("user_count"), py::arg("note_count"),
        py::arg("is_ordered"), py::arg("options"), py::kw_only(), py::arg("threads") = 0,
        py::arg("progress") = py::none());
}

}  // namespace notellm::python
