#include "notellm/retrieval/index.h"

#include "notellm/util/check.h"

#ifdef NOTELLM_HAVE_FAISS

#include <faiss/AutoTune.h>
#include <faiss/IndexIVF.h>
#include <faiss/impl/FaissException.h>
#include <faiss/index_factory.h>
#include "tensors.h"

#include <algorithm>

#include "best_first.h"
#include "vectors.h"

namespace notellm {
namespace {

constexpr const char* kWhere = "NeighbourIndex";

// Translates FAISS's exceptions: a description that FAISS does not accept is the caller's error.
template <typename Call>
auto translated(const std::string& what, const Call& call) {
  try {
    return call();
  } catch (const faiss::FaissException& error) {
    internal::throw_error<std::invalid_argument>(kWhere, "FAISS must accept ", what,
                                                 ", but says: ", error.msg);
  }
}

std::unique_ptr<faiss::Index> make_index(int64_t width, const std::string& factory) {
  return translated("the factory string '" + factory + "' (such as Flat, IVF64,Flat or HNSW32)",
                    [&] {
                      return std::unique_ptr<faiss::Index>(faiss::index_factory(
                          static_cast<int>(width), factory.c_str(), faiss::METRIC_INNER_PRODUCT));
                    });
}

}  // namespace

struct NeighbourIndex::Impl {
  internal::Vectors pool;
  std::unique_ptr<faiss::Index> index;
};

NeighbourIndex::NeighbourIndex(const at::Tensor& pool,
                               const std::string& factory,
                               const std::string& parameters)
    : impl_(std::make_unique<Impl>()) {
  impl_->pool = internal::to_vectors(kWhere, "pool", pool);
  const int64_t N = impl_->pool.size();
  internal::require(N >= 1, kWhere, "pool must have at least 1 note, but has 0");
  impl_->index = make_index(impl_->pool.width(), factory);
  if (auto* const inverted = dynamic_cast<faiss::IndexIVF*>(impl_->index.get())) {
    inverted->cp.min_points_per_centroid = 1;  // otherwise FAISS warns on stderr about small pools
  }
  const at::Tensor rows = impl_->pool.host.to(at::kFloat);  // (N, d)
  translated("a pool of " + std::to_string(N) + " notes for '" + factory + "'", [&] {
    impl_->index->train(N, rows.const_data_ptr<float>());
    impl_->index->add(N, rows.const_data_ptr<float>());
  });
  if (parameters.empty()) return;
  translated("the search parameters '" + parameters + "'", [&] {
    faiss::ParameterSpace().set_index_parameters(impl_->index.get(), parameters.c_str());
  });
}

Neighbours NeighbourIndex::search(const at::Tensor& query_rows,
                                  int64_t k,
                                  const at::Tensor& exclude) const {
  const internal::Vectors& pool = impl_->pool;
  const auto queries = internal::to_vectors(kWhere, "queries", query_rows);
  internal::check_same_kind(kWhere, queries, pool);
  const int64_t Q = queries.size(), N = pool.size();
  const internal::Exclusions exclusions(kWhere, exclude, Q, N);
  Neighbours result = internal::no_neighbours(kWhere, Q, k);
  int64_t most_excluded = 0;
  for (int64_t query = 0; query < Q; ++query) {
    most_excluded = std::max<int64_t>(most_excluded, std::ssize(exclusions.of(query)));
  }

  const int64_t wanted = std::min(N, k + most_excluded);
  const at::Tensor rows = queries.host.to(at::kFloat);  // (Q, d)
  std::vector<float> distances(Q * wanted);
  std::vector<int64_t> labels(Q * wanted);  // -1 where FAISS found no more
  translated("the search", [&] {
    impl_->index->search(Q, rows.const_data_ptr<float>(), wanted, distances.data(), labels.data());
  });
  for (int64_t query = 0; query < Q; ++query) {
    std::vector<int64_t> candidates(labels.begin() + query * wanted,
                                    labels.begin() + (query + 1) * wanted);
    std::erase(candidates, -1);
    internal::write_best(queries, query, pool, candidates, exclusions, result);
  }
  return result;
}

int64_t NeighbourIndex::size() const { return impl_->pool.size(); }

}  // namespace notellm

#else

namespace notellm {

struct NeighbourIndex::Impl {};

NeighbourIndex::NeighbourIndex(const at::Tensor&, const std::string&, const std::string&) {
  internal::throw_error<NotSupportedError>(
      "NeighbourIndex",
      "approximate indexes need FAISS, but this build has none; install it (on Debian: apt-get "
      "install libfaiss-dev libopenblas-dev) and build again with NOTELLM_FAISS=ON, or search "
      "exactly without an index");
}

Neighbours NeighbourIndex::search(const at::Tensor&, int64_t, const at::Tensor&) const {
  return {};
}

int64_t NeighbourIndex::size() const { return 0; }

}  // namespace notellm

#endif

namespace notellm {

NeighbourIndex::~NeighbourIndex() = default;
NeighbourIndex::NeighbourIndex(NeighbourIndex&&) noexcept = default;
NeighbourIndex& NeighbourIndex::operator=(NeighbourIndex&&) noexcept = default;

}  // namespace notellm
