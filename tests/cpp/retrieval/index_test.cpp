#include "notellm/retrieval/index.h"
#include "tensors.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "notellm/util/check.h"

namespace notellm {
namespace {

class FaissIndex : public ::testing::Test {
 protected:
  void SetUp() override {
    try {
      faiss_version();
    } catch (const NotSupportedError& error) {
      EXPECT_NE(std::string(error.what()).find("libfaiss-dev"), std::string::npos);
      GTEST_SKIP() << "built without FAISS";
    }
    at::manual_seed(0);
    pool = at::randn({600, 16});
  }

  // What `write` writes.
  static std::vector<char> bytes_of(const NeighbourIndex& index) {
    std::vector<char> bytes;
    index.write([&](const void* from, size_t count) {
      const auto* const first = static_cast<const char*>(from);
      bytes.insert(bytes.end(), first, first + count);
    });
    return bytes;
  }

  static NeighbourIndex index_of(const std::vector<char>& bytes, int64_t length) {
    size_t done = 0;
    const auto read = [&](void* to, size_t count) {
      std::memcpy(to, bytes.data() + done, count);
      done += count;
    };
    return NeighbourIndex::read(read, length);
  }

  static std::string refusal(const std::function<void()>& call) {
    try {
      call();
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "nothing was refused";
  }

  at::Tensor pool;  // (600, 16)
};

TEST_F(FaissIndex, FlatFindsWhatBruteForceFinds) {
  NeighbourIndex index = NeighbourIndex::build(16, "Flat");
  index.add(pool);
  const Neighbours found = index.search(pool.slice(0, 0, 50), 7);
  const Neighbours exact = nearest_neighbours(pool.slice(0, 0, 50), pool, 7);
  EXPECT_TRUE(found.indices.equal(exact.indices));
  EXPECT_TRUE(at::allclose(found.scores, exact.scores, 1e-5, 1e-5));
  const Neighbours again = nearest_among(pool.slice(0, 0, 50), pool, found.indices, 7);
  EXPECT_TRUE(again.indices.equal(exact.indices));
  EXPECT_TRUE(again.scores.equal(exact.scores));
}

TEST_F(FaissIndex, AnyBlocksMakeTheSameBytes) {
  for (const std::string factory : {"Flat", "SQ8", "IVF8,PQ4x4"}) {
    NeighbourIndex whole = NeighbourIndex::build(16, factory, pool);
    whole.add(pool);
    NeighbourIndex pieces = NeighbourIndex::build(16, factory, pool);
    for (int64_t first = 0; first < 600; first += 7) {
      pieces.add(pool.slice(0, first, std::min<int64_t>(600, first + 7)));
    }
    EXPECT_EQ(bytes_of(whole), bytes_of(pieces)) << factory;
  }
}

TEST_F(FaissIndex, IsTheSameAfterWritingAndReading) {
  NeighbourIndex index = NeighbourIndex::build(16, "HNSW8");
  index.add(pool);
  const auto bytes = bytes_of(index);
  const NeighbourIndex again = index_of(bytes, std::ssize(bytes));
  EXPECT_EQ(bytes_of(again), bytes);
  EXPECT_EQ(again.size(), 600);
  EXPECT_TRUE(again.search(pool, 3).indices.equal(index.search(pool, 3).indices));
  EXPECT_THROW(index_of(bytes, std::ssize(bytes) - 1), DataError);
}

TEST_F(FaissIndex, GivesBackWhatItKeeps) {
  for (const std::string factory : {"Flat", "IVF8,Flat", "HNSW8"}) {
    NeighbourIndex index = NeighbourIndex::build(16, factory, pool);
    index.add(pool);
    const auto before = bytes_of(index);
    EXPECT_TRUE(index.stored(at::tensor({599, 3}, at::kLong))
                    .equal(pool.index_select(0, at::tensor({599, 3}, at::kLong))));
    EXPECT_EQ(bytes_of(index), before) << factory;
  }
}

TEST_F(FaissIndex, StaysAsItWasWhereItCannotGiveRowsBack) {
  NeighbourIndex index = NeighbourIndex::build(16, "PCAW8,IVF8,Flat", pool);
  index.add(pool);
  const auto before = bytes_of(index);
  EXPECT_NE(refusal([&] { index.stored(at::tensor({3}, at::kLong)); }).find("FAISS must accept"),
            std::string::npos);
  EXPECT_EQ(bytes_of(index), before);
}

TEST_F(FaissIndex, OverAPoolFindsTheSameWithAnyNumberOfThreads) {
  const NeighbourIndex index(pool, "Flat");
  const at::Tensor exclude = at::arange(600, at::kLong);
  const Neighbours exact = nearest_neighbours(pool, pool, 7, exclude);
  const int threads = at::get_num_threads();
  for (const int count : {1, 2, 3}) {
    at::set_num_threads(count);
    const Neighbours found = index.search(pool, 7, exclude);
    EXPECT_TRUE(found.indices.equal(exact.indices));
    EXPECT_TRUE(found.scores.equal(exact.scores));
  }
  at::set_num_threads(threads);
}

TEST_F(FaissIndex, SaysHowManyVectorsItNeeds) {
  const auto few = pool.slice(0, 0, 5);
  EXPECT_NE(refusal([&] { NeighbourIndex::build(16, "IVF8,Flat", few); }).find("at least 8"),
            std::string::npos);
  EXPECT_NE(refusal([&] { NeighbourIndex::build(16, "IVF8,PQ4", few); }).find("at least 256"),
            std::string::npos);
  EXPECT_NE(refusal([&] { NeighbourIndex::build(16, "SQ8"); }).find("the sample has 0"),
            std::string::npos);
}

TEST_F(FaissIndex, RefusesDescriptionsThatFaissWouldDieOf) {
  for (const std::string factory : {"IVF64(Index5),Flat", "PQ0", "HNSW1", "IVF0,Flat", "IDMap,Flat",
                                    "HNSW8_PQ4", "LSH", "IVF99999999,Flat", "PQ4x31", ""}) {
    EXPECT_THROW(NeighbourIndex::build(16, factory, pool), std::invalid_argument) << factory;
  }
}

TEST_F(FaissIndex, RefusesLongDescriptionsBeforeReadingThem) {
  std::string factory;  // of 200,000 steps of a recursion
  for (int i = 0; i < 200'000; ++i) factory += "L2norm,";
  EXPECT_EQ(refusal([&] { NeighbourIndex::build(16, factory + "Flat", pool); }),
            "NeighbourIndex: the factory string must have at most 200 bytes, but has 1400004");
  EXPECT_EQ(refusal([&] { NeighbourIndex::build(16, factory.substr(0, 196) + "Flat", pool); }),
            "nothing was refused");
}

TEST_F(FaissIndex, RefusesParametersThatItDoesNotHave) {
  NeighbourIndex index = NeighbourIndex::build(16, "IVF8,Flat", pool);
  index.set_parameters("nprobe=4,max_codes=0");
  for (const std::string text :
       {"speed=9", "efSearch=4", "nprobe", "nprobe=0", "nprobe=1e3", "x"}) {
    EXPECT_THROW(index.set_parameters(text), std::invalid_argument) << text;
  }
}

TEST_F(FaissIndex, EndsWhereProgressSaysSo) {
  const auto stop = [](int64_t, int64_t) { return false; };
  EXPECT_THROW(NeighbourIndex(pool, "IVF8,Flat", "", stop), Interrupted);
  EXPECT_THROW(NeighbourIndex(pool, "HNSW8", "", stop), Interrupted);
  EXPECT_THROW(NeighbourIndex::build(16, "PQ4", pool, stop), Interrupted);
  NeighbourIndex index = NeighbourIndex::build(16, "SQ8", pool);
  index.add(pool);
  EXPECT_THROW(index.add(pool, stop), Interrupted);
  EXPECT_THROW(index.search(pool, 3, {}, stop), Interrupted);
  EXPECT_EQ(index.size(), 600);
  EXPECT_EQ(index.search(pool, 3).indices.size(0), 600);
}

TEST_F(FaissIndex, AddsBlocksUntilProgressSaysSo) {
  NeighbourIndex index = NeighbourIndex::build(2, "SQfp16");
  const at::Tensor rows = at::randn({40000, 2});
  EXPECT_THROW(index.add(rows, [](int64_t done, int64_t) { return done < 32768; }), Interrupted);
  EXPECT_EQ(index.size(), 32768);
  index.add(rows.slice(0, 32768));
  EXPECT_EQ(index.stored(at::arange(40000)).sub(rows).abs().lt(1e-2).all().item<bool>(), true);
}

TEST_F(FaissIndex, RefusesVectorsWhoseSquaresOverflow) {
  const at::Tensor large = pool * 1e19;
  for (const std::string factory : {"Flat", "PQ4", "IVF8,Flat", "PCA4,Flat"}) {
    EXPECT_NE(refusal([&] { NeighbourIndex(large, factory); }).find("norms below 1e+15, but row"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace notellm
