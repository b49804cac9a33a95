#include <pybind11/native_enum.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "arrays.h"
#include "notellm/metrics/bleu.h"
#include "notellm/metrics/bootstrap.h"
#include "notellm/metrics/category.h"
#include "notellm/metrics/ranking.h"
#include "notellm/metrics/rouge.h"
#include "notellm/util/check.h"

namespace notellm::python {
namespace {

using Ints = Array<int64_t>;
using Floats = Array<double>;
using Texts = std::vector<std::string>;
using Triple = std::tuple<double, double, double>;

py::array_t<double> hits(const Ints& greater, const Ints& equal, const Ints& ks, Ties ties) {
  const auto above = as_span("hits_at: greater", greater);
  const auto beside = as_span("hits_at: equal", equal), cutoffs = as_span("hits_at: ks", ks);
  std::vector<double> values;
  {
    py::gil_scoped_release release;
    values = hits_at(above, beside, cutoffs, ties);
  }
  return to_array(values).reshape({greater.size(), ks.size()});
}

py::array_t<double> gains(const Ints& greater, const Ints& equal, const Ints& ks, Ties ties) {
  const auto above = as_span("gains_at: greater", greater);
  const auto beside = as_span("gains_at: equal", equal), cutoffs = as_span("gains_at: ks", ks);
  std::vector<double> values;
  {
    py::gil_scoped_release release;
    values = gains_at(above, beside, cutoffs, ties);
  }
  return to_array(values).reshape({greater.size(), ks.size()});
}

py::array_t<double> reciprocal(const Ints& greater, const Ints& equal, Ties ties) {
  const auto above = as_span("reciprocal_ranks: greater", greater);
  const auto beside = as_span("reciprocal_ranks: equal", equal);
  std::vector<double> values;
  {
    py::gil_scoped_release release;
    values = reciprocal_ranks(above, beside, ties);
  }
  return to_array(values);
}

std::pair<py::array_t<double>, py::array_t<double>> categories(const Texts& generated,
                                                               const Texts& truth,
                                                               const Texts& known) {
  const auto scores = category_scores(generated, truth, known);
  return {to_array(scores.correct), to_array(scores.illusory)};
}

Triple to_tuple(const Overlap& overlap) { return {overlap.precision, overlap.recall, overlap.f1}; }

Triple to_tuple(const Interval& interval) { return {interval.value, interval.low, interval.high}; }

Triple longest_common(const Texts& prediction, const Texts& reference) {
  const ProgressFn signals = to_progress(py::none());
  py::gil_scoped_release release;
  return to_tuple(rouge_l(prediction, reference, signals));
}

constexpr int64_t kBleuNumbers = 2 * kBleuOrder + 2;

// Matches, totals, and the two lengths.
std::vector<int64_t> counts_of(const Texts& prediction, const std::vector<Texts>& references) {
  const BleuCounts counts = bleu_counts(prediction, references);
  std::vector<int64_t> row(counts.matches.begin(), counts.matches.end());
  row.insert(row.end(), counts.totals.begin(), counts.totals.end());
  row.insert(row.end(), {counts.prediction, counts.reference});
  return row;
}

// From rows of (n, 10) numbers, as `counts_of` makes them.
std::vector<BleuCounts> to_counts(const char* where, const Ints& rows) {
  internal::require(rows.ndim() == 2 && rows.shape(1) == kBleuNumbers, where, "counts must be (n, ",
                    kBleuNumbers, ") numbers, but have ", rows.ndim(), " dimensions and ",
                    rows.size(), " numbers");
  const std::span numbers(rows.data(), static_cast<size_t>(rows.size()));
  internal::require(std::ranges::all_of(numbers, [](int64_t n) { return n >= 0; }), where,
                    "counts must be at least 0, but one is negative");
  std::vector<BleuCounts> counts(rows.shape(0));
  for (py::ssize_t i = 0; i < rows.shape(0); ++i) {
    const int64_t* row = rows.data(i, 0);
    std::copy_n(row, kBleuOrder, counts[i].matches.begin());
    std::copy_n(row + kBleuOrder, kBleuOrder, counts[i].totals.begin());
    counts[i].prediction = row[kBleuNumbers - 2];
    counts[i].reference = row[kBleuNumbers - 1];
  }
  return counts;
}

double corpus_bleu(const Ints& rows, int order, BleuSmoothing smoothing) {
  BleuCounts sum;
  for (const BleuCounts& own : to_counts("bleu", rows)) sum += own;
  return bleu(sum, order, smoothing);
}

Triple bleu_interval(const Ints& rows,
                     int order,
                     BleuSmoothing smoothing,
                     int64_t samples,
                     const py::object& seed,
                     double level) {
  constexpr const char* where = "bootstrap_bleu";
  const std::vector<BleuCounts> counts = to_counts(where, rows);
  const BootstrapOptions options{samples, to_seed(where, seed), level};
  const ProgressFn signals = to_progress(py::none());
  py::gil_scoped_release release;
  return to_tuple(bootstrap_bleu(counts, order, smoothing, options, signals));
}

Triple mean(const Floats& values,
            int64_t samples,
            const py::object& seed,
            double level,
            int threads,
            const py::object& progress) {
  const auto numbers = as_span("bootstrap_mean: values", values);
  const BootstrapOptions options{samples, to_seed("bootstrap_mean", seed), level, threads};
  const ProgressFn report = to_progress(progress);
  py::gil_scoped_release release;
  return to_tuple(bootstrap_mean(numbers, options, report));
}

Triple difference(const Floats& a,
                  const Floats& b,
                  int64_t samples,
                  const py::object& seed,
                  double level,
                  int threads,
                  const py::object& progress) {
  const auto ours = as_span("bootstrap_difference: a", a);
  const auto theirs = as_span("bootstrap_difference: b", b);
  const BootstrapOptions options{samples, to_seed("bootstrap_difference", seed), level, threads};
  const ProgressFn report = to_progress(progress);
  py::gil_scoped_release release;
  return to_tuple(bootstrap_difference(ours, theirs, options, report));
}

}  // namespace

void bind_metrics(py::module_& m) {
  py::native_enum<Ties>(m, "Ties", "enum.Enum")
      .value("mean", Ties::kMean)
      .value("optimistic", Ties::kOptimistic)
      .value("pessimistic", Ties::kPessimistic)
      .finalize();
  m.def("hits_at", &hits, py::arg("greater"), py::arg("equal"), py::arg("ks"), py::arg("ties"));
  m.def("gains_at", &gains, py::arg("greater"), py::arg("equal"), py::arg("ks"), py::arg("ties"));
  m.def("reciprocal_ranks", &reciprocal, py::arg("greater"), py::arg("equal"), py::arg("ties"));
  m.def("category_scores", &categories, py::arg("generated"), py::arg("truth"), py::arg("known"));
  m.def(
      "rouge_1",
      [](const Texts& prediction, const Texts& reference) {
        return to_tuple(rouge_1(prediction, reference));
      },
      py::arg("prediction"), py::arg("reference"), py::call_guard<py::gil_scoped_release>());
  m.def(
      "confusion",
      [](const Texts& generated, const Texts& truth, const Texts& known) {
        return confusion(generated, truth, known);
      },
      py::arg("generated"), py::arg("truth"), py::arg("known"));
  py::native_enum<BleuSmoothing>(m, "BleuSmoothing", "enum.Enum")
      .value("none", BleuSmoothing::kNone)
      .value("floor", BleuSmoothing::kFloor)
      .value("add_one", BleuSmoothing::kAddOne)
      .value("exp", BleuSmoothing::kExp)
      .finalize();
  m.def("bleu_counts", &counts_of, py::arg("prediction"), py::arg("references"));
  m.def("bleu", &corpus_bleu, py::arg("counts"), py::arg("order"), py::arg("smoothing"));
  m.def("bootstrap_bleu", &bleu_interval, py::arg("counts"), py::arg("order"), py::arg("smoothing"),
        py::arg("samples"), py::arg("seed"), py::arg("level"));
  m.def(
      "rouge_2",
      [](const Texts& prediction, const Texts& reference) {
        return to_tuple(rouge_2(prediction, reference));
      },
      py::arg("prediction"), py::arg("reference"), py::call_guard<py::gil_scoped_release>());
  m.def("rouge_l", &longest_common, py::arg("prediction"), py::arg("reference"));
  m.def("bootstrap_mean", &mean, py::arg("values"), py::arg("samples"), py::arg("seed"),
        py::arg("level"), py::arg("threads") = 0, py::arg("progress") = py::none());
  m.def("bootstrap_difference", &difference, py::arg("a"), py::arg("b"), py::arg("samples"),
        py::arg("seed"), py::arg("level"), py::arg("threads") = 0,
        py::arg("progress") = py::none());
}

}  // namespace notellm::python
