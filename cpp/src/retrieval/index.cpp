#include "notellm/retrieval/index.h"

#include "notellm/util/check.h"

#ifdef NOTELLM_HAVE_FAISS

#include <ATen/Parallel.h>
#include <faiss/impl/io.h>
#include <faiss/index_io.h>
#include "tensors.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <shared_mutex>

#include "best_first.h"
#include "faiss_factory.h"
#include "faiss_interrupts.h"
#include "vectors.h"

namespace notellm {
namespace {

constexpr const char* kWhere = "NeighbourIndex";
constexpr int64_t kBlock = 16384;             // rows that FAISS gets at a time
constexpr size_t kWritten = size_t{1} << 20;  // bytes that are written at a time
constexpr int64_t kSteps = int64_t{1} << 33;  // multiplications in a search of all rows, at a time
constexpr int64_t kRescored = 256;            // queries between two looks at progress

// (n, d) fp32, contiguous, on the CPU. FAISS adds up squares in fp32, those of a whole sample too,
// and ends the process, or finds nothing, where a sum is not finite.
at::Tensor to_rows(std::string_view name, const at::Tensor& tensor, int64_t width) {
  constexpr double kTooLong = 1e15;
  internal::require(tensor.dim() == 2 && tensor.is_floating_point(), kWhere, name, " must be (*, ",
                    width, ") of a floating-point dtype, but is ", tensor.toString(), " ",
                    tensor.sizes());
  internal::require(tensor.size(1) == width, kWhere, name, " must have the index's width, ", width,
                    ", but have ", tensor.size(1));
  at::Tensor rows = internal::to_vectors(kWhere, name, tensor.detach().to(at::kFloat)).host;
  if (rows.numel() == 0) return rows;
  const auto [longest, row] = at::linalg_vector_norm(rows, 2, 1, false, at::kDouble).max(0);
  internal::require(longest.item<double>() < kTooLong, kWhere, name, " must have norms below ",
                    kTooLong, ", but row ", row.item<int64_t>(), " has ", longest.item<double>(),
                    "; try the exact search, without an index");
  return rows;
}

// What FAISS writes, in large pieces.
struct Writer : faiss::IOWriter {
  explicit Writer(const WriteBytes& write) : write_(write) { name = "the index"; }

  size_t operator()(const void* from, size_t size, size_t count) override {
    const auto* const bytes = static_cast<const char*>(from);
    waiting_.insert(waiting_.end(), bytes, bytes + size * count);
    if (waiting_.size() >= kWritten) finish();
    return count;
  }

  void finish() {
    if (!waiting_.empty()) write_(waiting_.data(), waiting_.size());
    waiting_.clear();
  }

 private:
  const WriteBytes& write_;
  std::vector<char> waiting_;
};

// What FAISS reads, and no more than there is.
struct Reader : faiss::IOReader {
  Reader(const ReadBytes& read, size_t left) : left(left), read_(read) { name = "the index"; }

  size_t operator()(void* to, size_t size, size_t count) override {
    if (size == 0 || count > left / size) return 0;
    read_(to, size * count);
    left -= size * count;
    return count;
  }

  size_t left;

 private:
  const ReadBytes& read_;
};

// FAISS's scores of one query's candidates, best first, as `internal::write_best` writes exact
// ones.
void write_found(int64_t query,
                 std::span<const float> scores,
                 std::span<const int64_t> rows,
                 const internal::Exclusions& exclusions,
                 Neighbours& result) {
  std::vector<std::pair<double, int64_t>> scored;  // (-score, row): sorts best first
  for (size_t i = 0; i < rows.size(); ++i) {
    const bool is_found = rows[i] >= 0 && !std::isnan(scores[i]);  // sums may overflow
    if (is_found && !exclusions.contains(query, rows[i])) scored.emplace_back(-scores[i], rows[i]);
  }
  std::sort(scored.begin(), scored.end());
  const int64_t k = result.indices.size(1);
  auto* const best = result.scores.mutable_data_ptr<double>() + query * k;
  auto* const indices = result.indices.mutable_data_ptr<int64_t>() + query * k;
  for (int64_t i = 0; i < std::min<int64_t>(k, std::ssize(scored)); ++i) {
    best[i] = -scored[i].first;
    indices[i] = scored[i].second;
  }
}

}  // namespace

struct NeighbourIndex::Impl {
  internal::Vectors pool;  // undefined in a built index
  std::unique_ptr<faiss::Index> index;
  at::Tensor waiting;        // (kBlock, d) fp32, allocated by the first row that waits
  int64_t waiting_rows = 0;  // rows of `waiting` that FAISS has not got yet
  std::shared_mutex mutex;   // held by those who change FAISS's index; shared by searches

  int64_t size() const { return index->ntotal + waiting_rows; }

  void add_to_faiss(int64_t n, const float* rows) {
    internal::accepted_by_faiss(std::to_string(n) + " rows", [&] { index->add(n, rows); });
  }

  void settle() {
    if (waiting_rows > 0) add_to_faiss(waiting_rows, waiting.const_data_ptr<float>());
    waiting_rows = 0;
    waiting = at::Tensor();
  }

  void add(const at::Tensor& rows, const ProgressFn& progress) {  // (n, d) fp32
    int64_t begin = 0;
    while (begin < rows.size(0)) {
      report_progress(progress, begin, rows.size(0));
      const int64_t count = std::min(kBlock - waiting_rows, rows.size(0) - begin);
      const float* const from = rows.const_data_ptr<float>() + begin * rows.size(1);
      begin += count;
      if (count == kBlock) {
        add_to_faiss(count, from);
        continue;
      }
      if (!waiting.defined()) waiting = at::empty({kBlock, rows.size(1)}, at::kFloat);
      std::copy_n(from, count * rows.size(1),
                  waiting.mutable_data_ptr<float>() + waiting_rows * rows.size(1));
      waiting_rows += count;
      if (waiting_rows == kBlock) settle();
    }
  }

  // Writes (Q, wanted) scores and rows of queries (Q, d). Not every index of FAISS asks whether to
  // go on, so it gets groups of queries, of which none is so small that it would be searched
  // otherwise.
  void search(const at::Tensor& queries,
              int64_t wanted,
              float* scores,
              int64_t* found,
              const ProgressFn& progress) const {
    const int64_t Q = queries.size(0), d = queries.size(1);
    const int64_t together = std::clamp<int64_t>(kSteps / d / index->ntotal, 256, 4096);
    const int64_t groups = (Q + together - 1) / together;
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t begin = Q * group / groups, end = Q * (group + 1) / groups;
      report_progress(progress, begin, Q);
      internal::accepted_by_faiss("the search", [&] {
        internal::stoppable(progress, [&] {
          index->search(end - begin, queries.const_data_ptr<float>() + begin * d, wanted,
                        scores + begin * wanted, found + begin * wanted);
        });
      });
    }
  }

  // FAISS's index with all rows, which nobody changes while the lock is held.
  std::shared_lock<std::shared_mutex> settled() {
    {
      const std::unique_lock lock(mutex);
      settle();
    }
    return std::shared_lock(mutex);
  }
};

NeighbourIndex::NeighbourIndex(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

NeighbourIndex::NeighbourIndex(const at::Tensor& pool,
                               const std::string& factory,
                               const std::string& parameters,
                               const ProgressFn& progress)
    : impl_(std::make_unique<Impl>()) {
  const auto description = internal::parse_factory(factory);
  impl_->pool = internal::to_vectors(kWhere, "pool", pool);
  const int64_t N = impl_->pool.size();
  internal::require(N >= 1, kWhere, "pool must have at least 1 note, but has 0");
  const at::Tensor rows = to_rows("pool", impl_->pool.host, impl_->pool.width());
  impl_->index = internal::make_index(rows.size(1), description);
  internal::train(*impl_->index, description, N, rows.const_data_ptr<float>(), progress);
  internal::stoppable(progress, [&] {
    impl_->add(rows, progress);
    impl_->settle();
  });
  set_parameters(parameters);
}

NeighbourIndex NeighbourIndex::build(int64_t width,
                                     const std::string& factory,
                                     const at::Tensor& sample,
                                     const ProgressFn& progress) {
  const auto description = internal::parse_factory(factory);
  auto impl = std::make_unique<Impl>();
  impl->index = internal::make_index(width, description);
  const at::Tensor given =
      sample.defined() ? to_rows("sample", sample, width) : at::empty({0, width}, at::kFloat);
  internal::train(*impl->index, description, given.size(0), given.const_data_ptr<float>(),
                  progress);
  return NeighbourIndex(std::move(impl));
}

void NeighbourIndex::add(const at::Tensor& rows, const ProgressFn& progress) {
  internal::require(!impl_->pool.host.defined(), kWhere,
                    "rows must be added to an index made by build, but this one is over a pool");
  const at::Tensor checked = to_rows("rows", rows, width());
  const std::unique_lock lock(impl_->mutex);
  impl_->add(checked, progress);
}

void NeighbourIndex::set_parameters(const std::string& parameters) {
  const std::unique_lock lock(impl_->mutex);
  internal::set_parameters(*impl_->index, parameters);
}

Neighbours NeighbourIndex::search(const at::Tensor& query_rows,
                                  int64_t k,
                                  const at::Tensor& exclude,
                                  const ProgressFn& progress) const {
  const internal::Vectors& pool = impl_->pool;
  const auto lock = impl_->settled();
  const bool is_over_pool = pool.host.defined();
  internal::Vectors queries;
  if (is_over_pool) {
    queries = internal::to_vectors(kWhere, "queries", query_rows);
    internal::check_same_kind(kWhere, queries.compute, pool.compute);
  }
  const at::Tensor rows =  // (Q, d)
      to_rows("queries", is_over_pool ? queries.host : query_rows, width());
  const int64_t Q = rows.size(0), N = impl_->index->ntotal;
  const internal::Exclusions exclusions(kWhere, exclude, Q, N);
  internal::check_k(kWhere, k);
  Neighbours result = internal::no_neighbours(Q, k);
  int64_t most_excluded = 0;
  for (int64_t query = 0; query < Q; ++query) {
    most_excluded = std::max<int64_t>(most_excluded, std::ssize(exclusions.of(query)));
  }

  const int64_t wanted = k < N ? std::min(N, k + most_excluded) : N;
  if (wanted == 0 || Q == 0) return result;
  std::vector<float> scores(Q * wanted);
  std::vector<int64_t> found(Q * wanted);  // -1 where FAISS found no more
  impl_->search(rows, wanted, scores.data(), found.data(), progress);
  const auto write = [&](int64_t query) {
    const auto labels = std::span(found).subspan(query * wanted, wanted);
    if (!is_over_pool) {
      write_found(query, std::span(scores).subspan(query * wanted, wanted), labels, exclusions,
                  result);
      return;
    }
    std::vector<int64_t> candidates(labels.begin(), labels.end());
    std::erase(candidates, -1);
    internal::write_best(queries, query, pool, candidates, exclusions, result);
  };
  for (int64_t done = 0; done < Q; done += kRescored) {
    report_progress(progress, done, Q);
    at::parallel_for(done, std::min(Q, done + kRescored), 1, [&](int64_t begin, int64_t end) {
      for (int64_t query = begin; query < end; ++query) write(query);
    });
  }
  return result;
}

at::Tensor NeighbourIndex::stored(const at::Tensor& rows) const {
  internal::require(rows.dim() == 1 && rows.scalar_type() == at::kLong, kWhere,
                    "rows must be (n) of int64, but are ", rows.toString(), " ", rows.sizes());
  const at::Tensor wanted = rows.cpu().contiguous();
  const auto* const first = wanted.const_data_ptr<int64_t>();
  const std::unique_lock lock(impl_->mutex);
  impl_->settle();
  for (int64_t i = 0; i < wanted.size(0); ++i) {
    internal::require(first[i] >= 0 && first[i] < impl_->size(), kWhere, "rows must be in [0, ",
                      impl_->size(), "), but row ", i, " is ", first[i]);
  }
  at::Tensor vectors = at::empty({wanted.size(0), impl_->index->d}, at::kFloat);
  internal::reconstruct(*impl_->index, first, wanted.size(0), vectors.mutable_data_ptr<float>());
  return vectors;
}

void NeighbourIndex::write(const WriteBytes& write) const {
  const auto lock = impl_->settled();
  Writer writer(write);
  internal::accepted_by_faiss("to write the index",
                              [&] { faiss::write_index(impl_->index.get(), &writer); });
  writer.finish();
}

NeighbourIndex NeighbourIndex::read(const ReadBytes& read, int64_t length) {
  Reader reader(read, std::max<int64_t>(length, 0));
  auto impl = std::make_unique<Impl>();
  impl->index = internal::accepted_by_faiss<DataError>("the bytes of an index", [&] {
    return std::unique_ptr<faiss::Index>(faiss::read_index(&reader));
  });
  const internal::Require<DataError> require(kWhere);
  require(reader.left == 0, "an index must end where its bytes do, but ", reader.left, " are left");
  require(impl->index->metric_type == faiss::METRIC_INNER_PRODUCT && impl->index->is_trained,
          "an index must be trained and search by inner product, but this one does not");
  return NeighbourIndex(std::move(impl));
}

int64_t NeighbourIndex::size() const {
  const std::shared_lock lock(impl_->mutex);
  return impl_->size();
}

int64_t NeighbourIndex::width() const { return impl_->index->d; }

std::string faiss_version() {
  return std::to_string(FAISS_VERSION_MAJOR) + "." + std::to_string(FAISS_VERSION_MINOR) + "." +
         std::to_string(FAISS_VERSION_PATCH);
}

}  // namespace notellm

#else

namespace notellm {
namespace {

[[noreturn]] void refuse() {
  internal::throw_error<NotSupportedError>(
      "NeighbourIndex",
      "approximate indexes need FAISS, but this build has none; install it (on Debian: apt-get "
      "install libfaiss-dev libopenblas-dev) and build again with NOTELLM_FAISS=ON, or search "
      "exactly without an index");
}

}  // namespace

struct NeighbourIndex::Impl {};

NeighbourIndex::NeighbourIndex(std::unique_ptr<Impl>) { refuse(); }
NeighbourIndex::NeighbourIndex(const at::Tensor&,
                               const std::string&,
                               const std::string&,
                               const ProgressFn&) {
  refuse();
}
NeighbourIndex NeighbourIndex::build(int64_t,
                                     const std::string&,
                                     const at::Tensor&,
                                     const ProgressFn&) {
  refuse();
}
NeighbourIndex NeighbourIndex::read(const ReadBytes&, int64_t) { refuse(); }
void NeighbourIndex::add(const at::Tensor&, const ProgressFn&) { refuse(); }
void NeighbourIndex::set_parameters(const std::string&) { refuse(); }
Neighbours NeighbourIndex::search(const at::Tensor&,
                                  int64_t,
                                  const at::Tensor&,
                                  const ProgressFn&) const {
  refuse();
}
at::Tensor NeighbourIndex::stored(const at::Tensor&) const { refuse(); }
void NeighbourIndex::write(const WriteBytes&) const { refuse(); }
int64_t NeighbourIndex::size() const { refuse(); }
int64_t NeighbourIndex::width() const { refuse(); }
std::string faiss_version() { refuse(); }

}  // namespace notellm

#endif

namespace notellm {

NeighbourIndex::~NeighbourIndex() = default;
NeighbourIndex::NeighbourIndex(NeighbourIndex&&) noexcept = default;
NeighbourIndex& NeighbourIndex::operator=(NeighbourIndex&&) noexcept = default;

}  // namespace notellm
