#ifdef NOTELLM_HAVE_FAISS

#include "faiss_factory.h"

#include <faiss/AutoTune.h>
#include <faiss/IVFlib.h>
#include <faiss/IndexIVFPQ.h>
#include <faiss/IndexIVFPQFastScan.h>
#include <faiss/IndexPQ.h>
#include <faiss/IndexPQFastScan.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexRefine.h>
#include <faiss/VectorTransform.h>
#include <faiss/index_factory.h>

#include <algorithm>
#include <charconv>
#include <regex>
#include <string_view>
#include <vector>

#include "faiss_interrupts.h"

namespace notellm::internal {
namespace {

constexpr const char* kWhere = "NeighbourIndex";
constexpr int64_t kLargestNumber = int64_t{1} << 20;
constexpr int64_t kWidestRotation = 4096;  // its square is a matrix
constexpr size_t kLongestFactory = 200;    // std::regex calls itself for each character

// FAISS ends the process, divides by 0 or takes any memory for some descriptions, so it sees those
// alone of which this is known not to happen.
const std::string kNumber = "([0-9]{1,7})";
const std::string kTransform =
    "(?:(?:OPQ[0-9]{1,7}(?:_[0-9]{1,7})?|PCAW?R?[0-9]{1,7}|RR(?:[0-9]{1,7})?|L2norm),)*";
const std::string kScalar = "SQ8|SQ6|SQ4|SQfp16";
const std::string kProduct = "PQ[0-9]{1,7}(?:x[0-9]{1,2}|x4fs)?";
const std::string kCodes = "(?:Flat|" + kScalar + "|" + kProduct + ")";
const std::string kGraph = "HNSW(?:[0-9]{1,7})?";
const std::regex kGrammar(kTransform + "(?:" + kCodes + "|" + kGraph + "(?:[,_](?:Flat|" + kScalar +
                          "))?|IVF[0-9]{1,7}(?:_" + kGraph + ")?," + kCodes + ")(?:,RFlat)?");

// The numbers of all matches' first groups.
std::vector<int64_t> numbers(const std::string& text, const std::string& pattern) {
  const std::regex expression(pattern);
  std::vector<int64_t> found;
  for (std::sregex_iterator match(text.begin(), text.end(), expression), end; match != end;
       ++match) {
    found.push_back(std::stoll((*match)[1].str()));
  }
  return found;
}

bool is_matched(const std::string& text, const std::string& pattern) {
  return std::regex_search(text, std::regex(pattern));
}

// A clustering warns on stderr where it has few points for each centroid.
void silence(faiss::ClusteringParameters& clustering) { clustering.min_points_per_centroid = 1; }

// The index inside of transformations and refinements.
faiss::Index& innermost(faiss::Index& index) {
  if (auto* const refined = dynamic_cast<faiss::IndexRefine*>(&index)) {
    return innermost(*refined->base_index);
  }
  if (auto* const transformed = dynamic_cast<faiss::IndexPreTransform*>(&index)) {
    return innermost(*transformed->index);
  }
  return index;
}

// Its end removes the map from rows to clusters, which takes memory, and would be written.
class WithoutDirectMap {
 public:
  explicit WithoutDirectMap(faiss::IndexIVF* maybe_inverted) : inverted_(maybe_inverted) {}
  ~WithoutDirectMap() {
    if (inverted_) inverted_->make_direct_map(false);
  }
  WithoutDirectMap(const WithoutDirectMap&) = delete;
  WithoutDirectMap& operator=(const WithoutDirectMap&) = delete;

 private:
  faiss::IndexIVF* inverted_;
};

// Polysemous training, for a kind of search that is not offered, takes most of the time, and a
// quarter of the sample.
void configure(faiss::Index& index) {
  if (auto* const inverted = dynamic_cast<faiss::IndexIVF*>(&index)) silence(inverted->cp);
  if (auto* const product = dynamic_cast<faiss::IndexPQ*>(&index)) {
    silence(product->pq.cp);
    product->do_polysemous_training = false;
  } else if (auto* const inverted_product = dynamic_cast<faiss::IndexIVFPQ*>(&index)) {
    silence(inverted_product->pq.cp);
    inverted_product->do_polysemous_training = false;
  } else if (auto* const fast = dynamic_cast<faiss::IndexPQFastScan*>(&index)) {
    silence(fast->pq.cp);
  } else if (auto* const inverted_fast = dynamic_cast<faiss::IndexIVFPQFastScan*>(&index)) {
    silence(inverted_fast->pq.cp);
  }
}

// An index's transformations of one kind, at any depth.
template <typename Kind>
std::vector<Kind*> steps_of(faiss::Index& index) {
  if (auto* const refined = dynamic_cast<faiss::IndexRefine*>(&index)) {
    return steps_of<Kind>(*refined->base_index);
  }
  std::vector<Kind*> found;
  if (auto* const transformed = dynamic_cast<faiss::IndexPreTransform*>(&index)) {
    for (faiss::VectorTransform* const step : transformed->chain) {
      if (auto* const one = dynamic_cast<Kind*>(step)) found.push_back(one);
    }
  }
  return found;
}

// Whitening divides by the deviation along each direction that it keeps: where there is none, by
// rounding errors, and no vector would be near another.
void check_whitening(faiss::Index& index, const Description& description) {
  constexpr float kRounding = 1e-6F;  // of a variance in fp32, beside the largest one
  for (const faiss::PCAMatrix* const pca : steps_of<faiss::PCAMatrix>(index)) {
    if (pca->eigen_power == 0 || !pca->is_trained) continue;
    const float largest = std::max(0.0F, std::ranges::max(pca->eigenvalues));
    const auto directions = std::ranges::count_if(
        pca->eigenvalues, [&](float variance) { return variance > kRounding * largest; });
    require(directions >= pca->d_out, kWhere, "'", description.factory,
            "' needs a sample in at least ", pca->d_out, " directions, but it has ", directions,
            "; try PCA", pca->d_out, ", which does not whiten");
  }
}

double parameter_value(std::string_view parameter, std::string_view text, int64_t smallest) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  require(error == std::errc() && end == text.data() + text.size() && value >= smallest &&
              value <= INT32_MAX,
          kWhere, "the search parameter ", parameter, " must be a whole number of at least ",
          smallest, ", but is '", text, "'");
  return static_cast<double>(value);
}

}  // namespace

Description parse_factory(const std::string& factory) {
  require(factory.size() <= kLongestFactory, kWhere, "the factory string must have at most ",
          kLongestFactory, " bytes, but has ", factory.size());
  const bool is_known = std::regex_match(factory, kGrammar);
  const auto all = is_known ? numbers(factory, kNumber) : std::vector<int64_t>();
  const bool is_sound = std::ranges::all_of(
      all, [](int64_t number) { return number >= 1 && number <= kLargestNumber; });
  const auto widths =
      is_known ? numbers(factory, "(?:RR|_|PCAW?R?)" + kNumber) : std::vector<int64_t>();
  const bool is_narrow =
      std::ranges::all_of(widths, [](int64_t width) { return width <= kWidestRotation; });
  const auto links = is_known ? numbers(factory, "HNSW" + kNumber) : std::vector<int64_t>();
  const bool has_links =
      std::ranges::all_of(links, [](int64_t number) { return number >= 2 && number <= 1024; });
  require(is_known && is_sound && is_narrow && has_links, kWhere,
          "the factory string must be such as Flat, SQ8, HNSW32, IVF256,Flat, IVF256,PQ16 or "
          "OPQ16,PQ16, but is '",
          factory, "'");
  Description description{factory};
  const auto need = [&](int64_t count) {
    description.needed = std::max(description.needed, count);
  };
  if (is_matched(factory, "OPQ")) need(256);
  if (is_matched(factory, "PCA|RR|SQ[864]")) need(1);
  for (const int64_t width : numbers(factory, "PCAW?R?" + kNumber)) need(width);
  for (const int64_t clusters : numbers(factory, "IVF" + kNumber)) need(clusters);
  if (is_matched(factory, "(^|,)PQ[0-9]+(,|$)")) need(256);
  for (const int64_t bits : numbers(factory, "PQ[0-9]+x" + kNumber)) {
    require(bits <= 16, kWhere, "codes of PQ must have at most 16 bits, but '", factory, "' has ",
            bits);
    need(int64_t{1} << bits);
  }
  return description;
}

std::unique_ptr<faiss::Index> make_index(int64_t width, const Description& description) {
  require(width >= 1 && width <= kLargestNumber, kWhere, "width must be in [1, ", kLargestNumber,
          "], but is ", width);
  return accepted_by_faiss(
      "the factory string '" + description.factory + "' for width " + std::to_string(width), [&] {
        std::unique_ptr<faiss::Index> index(faiss::index_factory(
            static_cast<int>(width), description.factory.c_str(), faiss::METRIC_INNER_PRODUCT));
        configure(innermost(*index));
        return index;
      });
}

void train(faiss::Index& index,
           const Description& description,
           int64_t n,
           const float* sample,
           const ProgressFn& progress) {
  require(n >= description.needed, kWhere, "'", description.factory, "' needs at least ",
          description.needed, " vectors to train, but the sample has ", n);
  if (n == 0) return;
  std::vector<std::unique_ptr<faiss::ProductQuantizer>> quantizers;  // OPQ's own would warn
  const auto matrices = steps_of<faiss::OPQMatrix>(index);
  for (faiss::OPQMatrix* const matrix : matrices) {
    accepted_by_faiss("the factory string '" + description.factory + "'", [&] {
      quantizers.push_back(std::make_unique<faiss::ProductQuantizer>(matrix->d_out, matrix->M, 8));
    });
    silence(quantizers.back()->cp);
    matrix->pq = quantizers.back().get();
  }
  accepted_by_faiss(
      "a sample of " + std::to_string(n) + " vectors for '" + description.factory + "'", [&] {
        try {
          stoppable(progress, [&] { index.train(n, sample); });
        } catch (const faiss::FaissException&) {  // of what whitening made infinite
          check_whitening(index, description);
          throw;
        }
      });
  for (faiss::OPQMatrix* const matrix : matrices) matrix->pq = nullptr;
  check_whitening(index, description);
}

void set_parameters(faiss::Index& index, const std::string& parameters) {
  static const std::vector<std::string_view> known = {
      "nprobe", "max_codes", "efSearch", "quantizer_efSearch", "efConstruction", "k_factor_rf"};
  std::string_view rest = parameters;
  while (!rest.empty()) {
    const std::string_view one = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), one.size() + 1));
    const size_t sign = std::min(one.find('='), one.size());
    const std::string name(one.substr(0, sign));
    require(std::ranges::count(known, name) == 1, kWhere,
            "search parameters must be among nprobe, max_codes, efSearch, quantizer_efSearch, "
            "efConstruction and k_factor_rf, such as nprobe=8, but one is '",
            one, "'");
    const double value = parameter_value(name, one.substr(std::min(one.size(), sign + 1)),
                                         name == "max_codes" ? 0 : 1);
    accepted_by_faiss("the search parameter '" + std::string(one) + "'",
                      [&] { faiss::ParameterSpace().set_index_parameter(&index, name, value); });
  }
}

void reconstruct(faiss::Index& index, const int64_t* rows, int64_t count, float* to) {
  auto* const inverted = dynamic_cast<faiss::IndexIVF*>(&innermost(index));
  accepted_by_faiss("a request for vectors", [&] {
    const WithoutDirectMap afterwards(inverted);  // also where FAISS makes half of it, and throws
    if (inverted) inverted->make_direct_map(true);
    for (int64_t i = 0; i < count; ++i) index.reconstruct(rows[i], to + i * index.d);
  });
}

}  // namespace notellm::internal

#endif
