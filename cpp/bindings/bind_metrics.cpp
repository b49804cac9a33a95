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
  std::vector<double> values;
  {
    py::gil_scoped_release release;
    values = hits_at(as_span(greater), as_span(equal), as_span(ks), ties);
  }
  return to_array(values).reshape({greater.size(), ks.size()});
}

py::array_t<double> gains(const Ints& greater, const Ints& equal, const Ints& ks, Ties ties) {
  std::vector<double> values;
  {
    py::gil_scoped_release release;
    values = gains_at(as_span(greater), as_span(equal), as_span(ks), ties);
  }
  return to_array(values).reshape({greater.size(), ks.size()});
}

py::array_t<double> reciprocal(const Ints& greater, const Ints& equal, Ties ties) {
  std::vector<double> values;
  {
    py::gil_scoped_release release;
    values = reciprocal_ranks(as_span(greater), as_span(equal), ties);
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
  const std::span<const int64_t> numbers = as_span(rows);
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
                     uint64_t seed,
                     double level) {
  const std::vector<BleuCounts> counts = to_counts("bootstrap_bleu", rows);
  py::gil_scoped_release release;
  return to_tuple(bootstrap_bleu(counts, order, smoothing, {samples, seed, level}));
}

Triple mean(const Floats& values,
            int64_t samples,
            uint64_t seed,
            double level,
            int threads,
            const py::object& progress) {
  const ProgressFn report = to_progress(progress);
  py::gil_scoped_release release;
  return to_tuple(bootstrap_mean(as_span(values), {samples, seed, level, threads}, report));
}

Triple difference(const Floats& a,
                  const Floats& b,
                  int64_t samples,
                  uint64_t seed,
                  double level,
                  int threads,
                  const py::object& progress) {
  const ProgressFn report = to_progress(progress);
  py::gil_scoped_release release;
  return to_tuple(
      bootstrap_difference(as_span(a), as_span(b), {samples, seed, level, threads}, report));
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
  m.def(
      "rouge_l",
      [](const Texts& prediction, const Texts& reference) {
        return to_tuple(rouge_l(prediction, reference));
      },
      py::arg("prediction"), py::arg("reference"), py::call_guard<py::gil_scoped_release>());
  m.def("bootstrap_mean", &mean, py::arg("values"), py::arg("samples"), py::arg("seed"),
        py::arg("level"), py::arg("threads") = 0, py::arg("progress") = py::none());
  m.def("bootstrap_difference", &difference, py::arg("a"), py::arg("b"), py::arg("samples"),
        py::arg("seed"), py::arg("level"), py::arg("threads") = 0,
        py::arg("progress") = py::none());
}

}  // namespace notellm::python
