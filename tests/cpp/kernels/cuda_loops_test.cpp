#include "cuda_on_cpu.h"

#include "kernels/cuda/device_code.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "notellm/kernels/table.h"

// The CUDA kernels, run on the CPU, against the loops of the CPU.
namespace notellm::kernels {
namespace {

using cuda_on_cpu::launch;

constexpr int kThreads = 4;  // of a block; fewer than any row has numbers

template <typename Scalar>
struct Numbers {
  std::mt19937 generator{7};

  std::vector<Accumulator<Scalar>> wide(int64_t n) {
    std::vector<Accumulator<Scalar>> values(n);
    for (auto& value : values) value = std::normal_distribution<Accumulator<Scalar>>()(generator);
    return values;
  }
  std::vector<Scalar> of(int64_t n) {
    const auto values = wide(n);
    std::vector<Scalar> narrow(n);
    tables().of<Scalar>().convert(values.data(), n, narrow.data());
    return narrow;
  }
};

template <typename Scalar>
std::vector<double> widened(const std::vector<Scalar>& values) {
  std::vector<Accumulator<Scalar>> wide(values.size());
  tables().of<Scalar>().convert_back(values.data(), std::ssize(values), wide.data());
  return {wide.begin(), wide.end()};
}

template <typename Value>
void expect_near(const std::vector<Value>& actual,
                 const std::vector<Value>& expected,
                 double limit) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i)
    EXPECT_NEAR(actual[i], expected[i], limit * (1 + std::abs(expected[i]))) << i;
}

// fp64: 1e-12; fp32: sums in another order; bf16: a number may be rounded to its neighbour.
template <typename Scalar>
constexpr double kLimit = std::is_same_v<Scalar, double>  ? 1e-12
                          : std::is_same_v<Scalar, float> ? 1e-5
                                                          : 0.01;

template <typename Scalar>
class CudaRows : public testing::Test {
 protected:
  using Acc = Accumulator<Scalar>;
  const Table<Scalar>& cpu = tables().of<Scalar>();
  Numbers<Scalar> draw;
};

using Scalars = testing::Types<float, double, Bf16>;
TYPED_TEST_SUITE(CudaRows, Scalars);

TYPED_TEST(CudaRows, RmsNormAndItsGradients) {
  using Scalar = TypeParam;
  using Acc = Accumulator<Scalar>;
  constexpr int64_t kRows = 11, kWidth = 13;
  const auto x = this->draw.wide(kRows * kWidth), weight = this->draw.wide(kWidth);
  const auto gradient = this->draw.of(kRows * kWidth);
  std::vector<Scalar> y(x.size()), expected_y(x.size());
  std::vector<Acc> inverse(kRows), expected_inverse(kRows);
  this->cpu.rms_norm(x.data(), weight.data(), 1e-5, kRows, kWidth, expected_y.data(),
                     expected_inverse.data());
  launch({kRows, 1}, kThreads, [&] {
    cuda::rms_norm<kThreads>(x.data(), weight.data(), 1e-5, kWidth, y.data(), inverse.data());
  });
  expect_near(widened(y), widened(expected_y), kLimit<Scalar>);
  expect_near(inverse, expected_inverse, kLimit<Acc>);

  std::vector<Acc> dx(x.size()), expected_dx(x.size()), expected_dw(kWidth, 0), dw(kWidth, 0);
  std::vector<Acc> parts(kCudaParts * kWidth, std::numeric_limits<Acc>::quiet_NaN());
  this->cpu.rms_norm_backward(gradient.data(), x.data(), weight.data(), inverse.data(), kRows,
                              kWidth, expected_dx.data(), expected_dw.data());
  launch({kRows, 1}, kThreads, [&] {
    cuda::rms_norm_input_gradient<kThreads>(gradient.data(), x.data(), weight.data(),
                                            inverse.data(), kWidth, dx.data());
  });
  launch({(kWidth + kThreads - 1) / kThreads, kCudaParts}, kThreads, [&] {
    cuda::rms_norm_weight_gradient<kThreads>(gradient.data(), x.data(), inverse.data(), kRows,
                                             kWidth, parts.data());
  });
  for (int64_t i = 0; i < std::ssize(parts); ++i) dw[i % kWidth] += parts[i];
  expect_near(dx, expected_dx, kLimit<Acc>);
  expect_near(dw, expected_dw, kLimit<Acc>);
}

TYPED_TEST(CudaRows, SwigluAndItsGradient) {
  using Scalar = TypeParam;
  constexpr int64_t kRows = 5, kWidth = 7, kCount = kRows * kWidth;
  const auto gate_up = this->draw.of(2 * kCount), gradient = this->draw.of(kCount);
  std::vector<Scalar> out(kCount), expected(kCount), back(2 * kCount), expected_back(2 * kCount);
  this->cpu.swiglu(gate_up.data(), kRows, kWidth, expected.data());
  this->cpu.swiglu_backward(gradient.data(), gate_up.data(), kRows, kWidth, expected_back.data());
  const cuda_on_cpu::Index grid{(kCount + kThreads - 1) / kThreads, 1};
  launch(grid, kThreads,
         [&] { cuda::swiglu<kThreads>(gate_up.data(), kCount, kWidth, out.data()); });
  launch(grid, kThreads, [&] {
    cuda::swiglu_backward<kThreads>(gradient.data(), gate_up.data(), kCount, kWidth, back.data());
  });
  expect_near(widened(out), widened(expected), kLimit<Scalar>);
  expect_near(widened(back), widened(expected_back), kLimit<Scalar>);
}

TYPED_TEST(CudaRows, Sums) {
  using Scalar = TypeParam;
  constexpr int64_t kCount = 30;
  const auto residual = this->draw.wide(kCount);
  const auto branch = this->draw.of(kCount);
  std::vector<Accumulator<Scalar>> sum(kCount), expected(kCount);
  this->cpu.add(residual.data(), branch.data(), kCount, expected.data());
  launch({(kCount + kThreads - 1) / kThreads, 1}, kThreads,
         [&] { cuda::add<kThreads>(residual.data(), branch.data(), kCount, sum.data()); });
  EXPECT_EQ(sum, expected);
}

// The sum over all heads of g . rotate(x) is that of rotate_back(g) . x, and the angles of a table
// need not be equal in both halves.
TYPED_TEST(CudaRows, Rotations) {
  using Scalar = TypeParam;
  constexpr int64_t kTokens = 3, kHeads = 2, kDim = 6, kStride = 20, kCount = 36;
  const auto x = this->draw.of(kTokens * kStride), gradient = this->draw.of(kCount);
  const auto cos = this->draw.of(kTokens * kDim), sin = this->draw.of(kTokens * kDim);
  std::vector<Scalar> out(kCount), back(kCount);
  const cuda_on_cpu::Index grid{kCount / 2 / kThreads + 1, 1};
  launch(grid, kThreads, [&] {
    cuda::rotate<kThreads>(HeadRows<Scalar>{x.data(), kTokens, kHeads, kDim, kStride}, cos.data(),
                           sin.data(), 1, out.data());
  });
  launch(grid, kThreads, [&] {
    cuda::rotate<kThreads>(HeadRows<Scalar>{gradient.data(), kTokens, kHeads, kDim, kHeads * kDim},
                           cos.data(), sin.data(), -1, back.data());
  });
  const auto wide_x = widened(x), c = widened(cos), s = widened(sin), g = widened(gradient);
  std::vector<double> expected, dots(2, 0);
  for (int64_t token = 0; token < kTokens; ++token) {
    for (int64_t head = 0; head < kHeads; ++head) {
      const double* const from = &wide_x[token * kStride + head * kDim];
      for (int64_t i = 0; i < kDim; ++i) {
        const double other = i < kDim / 2 ? -from[i + kDim / 2] : from[i - kDim / 2];
        dots[1] += widened(back)[expected.size()] * from[i];
        expected.push_back(from[i] * c[token * kDim + i] + other * s[token * kDim + i]);
        dots[0] += expected.back() * g[expected.size() - 1];
      }
    }
  }
  expect_near(widened(out), expected, kLimit<Scalar>);
  EXPECT_NEAR(dots[0], dots[1], 20 * kLimit<Scalar>);
}

TEST(CudaConversions, ToBf16RoundLikeTheCpu) {
  std::vector<float> values{0.0f,        -0.0f,   1.0f,    1.00390625f,
                            1.01171875f, 3.4e38f, -1e-40f, std::numeric_limits<float>::infinity(),
                            65280.5f};
  const auto drawn = Numbers<float>().wide(200);
  values.insert(values.end(), drawn.begin(), drawn.end());
  for (const float value : values) {
    Bf16 expected, actual;
    tables().bf16.convert(&value, 1, &expected);
    cuda::narrow(&actual, value);
    EXPECT_EQ(actual.bits, expected.bits) << value;
  }
  Bf16 nan;
  cuda::narrow(&nan, std::numeric_limits<float>::quiet_NaN());
  EXPECT_TRUE(std::isnan(cuda::widen(nan)));
}

template <typename Scalar>
void expect_counts(int64_t capacity) {
  constexpr int64_t kRows = 3, kWidth = 30;
  auto scores = Numbers<Scalar>().wide(kRows * kWidth);
  scores[4] = std::numeric_limits<Scalar>::quiet_NaN();
  const std::vector<Scalar> low{-0.1f, 0.5f, -9.0f}, high{0.1f, 0.5f, 9.0f};
  std::vector<int64_t> greater{10, 0, 0}, expected{10, 0, 0};
  std::set<std::pair<int32_t, int32_t>> open, expected_open;
  for (int32_t row = 0; row < kRows; ++row) {
    for (int32_t i = 0; i < kWidth; ++i) {
      const Scalar score = scores[row * kWidth + i];
      expected[row] += score > high[row];
      if (!(score > high[row]) && !(score < low[row])) expected_open.insert({row, i});
    }
  }
  std::vector<int32_t> pairs(2 * capacity, -1);
  int64_t count = 0;
  const ScoreTile<Scalar> tile{scores.data(),  kRows,        kWidth, low.data(), high.data(),
                               greater.data(), pairs.data(), &count, capacity};
  launch({2, kRows}, kThreads, [&] { cuda::count_scores<kThreads>(tile); });
  EXPECT_EQ(greater, expected);
  EXPECT_EQ(count, std::ssize(expected_open));
  for (int64_t i = 0; i < std::min(count, capacity); ++i)
    open.insert({pairs[2 * i], pairs[2 * i + 1]});
  if (count <= capacity) {
    EXPECT_EQ(open, expected_open);
  }
  EXPECT_TRUE(std::ranges::includes(expected_open, open));
  EXPECT_EQ(std::ssize(open), std::min(count, capacity));
}

TEST(CudaCounts, FindWhatIsGreaterAndWhatIsOpen) {
  expect_counts<float>(1000);
  expect_counts<double>(1000);
}

TEST(CudaCounts, WriteNoMoreThanFits) { expect_counts<float>(5); }

template <typename Scalar>
class CudaTiles : public testing::Test {
 protected:
  static constexpr int64_t kRows = 7, kWidth = 13;
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();

  // Two tiles of scores for the same rows and columns, with some that are left out.
  std::vector<std::vector<Scalar>> tiles() {
    Numbers<Scalar> draw;
    std::vector<std::vector<Scalar>> both;
    for (int tile = 0; tile < 2; ++tile) {
      both.push_back(draw.wide(kRows * kWidth));
      for (auto& score : both.back()) score *= 100;
      for (int64_t i = 0; i < kRows * kWidth; i += 5) both.back()[i] = Scalar(-kInfinity);
      std::fill_n(both.back().begin() + 2 * kWidth, kWidth,
                  Scalar(-kInfinity));  // a row without any
    }
    return both;
  }

  // log2 of the sum of exp2 of a row's, or column's, scores in both tiles; -inf of none.
  static double expected(const std::vector<std::vector<Scalar>>& tiles,
                         bool is_by_row,
                         int64_t index) {
    std::vector<double> scores;
    for (const auto& tile : tiles) {
      for (int64_t i = 0; i < kRows * kWidth; ++i)
        if ((is_by_row ? i / kWidth : i % kWidth) == index) scores.push_back(tile[i]);
    }
    const double most = *std::ranges::max_element(scores);
    if (most == -kInfinity) return most;
    double sum = 0;
    for (const double score : scores) sum += std::exp2(score - most);
    return most + std::log2(sum);
  }

  void expect_log_sums(bool is_by_row) {
    const int64_t count = is_by_row ? kRows : kWidth;
    std::vector<Scalar> maxima(count, std::numeric_limits<float>::lowest() / 2), sums(count, 0);
    const auto both = tiles();
    for (const auto& tile : both) {
      const LogSumTile<Scalar> running{tile.data(), kRows, kWidth, maxima.data(), sums.data()};
      if (is_by_row)
        launch({kRows, 1}, kThreads, [&] { cuda::absorb_rows<kThreads>(running); });
      else
        launch({kWidth / 2 + 1, 1}, kThreads, [&] { cuda::absorb_columns<kThreads, 2>(running); });
    }
    for (int64_t i = 0; i < count; ++i) {
      const double actual = maxima[i] + std::log2(sums[i]), right = expected(both, is_by_row, i);
      if (right == -kInfinity)
        EXPECT_EQ(actual, right) << i;
      else
        EXPECT_NEAR(actual, right, kLimit<Scalar> * (1 + std::abs(right))) << i;
    }
  }
};

using Wide = testing::Types<float, double>;
TYPED_TEST_SUITE(CudaTiles, Wide);

TYPED_TEST(CudaTiles, LogSumsOfRows) { this->expect_log_sums(true); }
TYPED_TEST(CudaTiles, LogSumsOfColumns) { this->expect_log_sums(false); }

TYPED_TEST(CudaTiles, NanIsNotLost) {
  std::vector<TypeParam> scores{1, std::numeric_limits<TypeParam>::quiet_NaN(), 2, 3}, maxima(1),
      sums(1);
  const LogSumTile<TypeParam> tile{scores.data(), 1, 4, maxima.data(), sums.data()};
  launch({1, 1}, kThreads, [&] { cuda::absorb_rows<kThreads>(tile); });
  EXPECT_TRUE(std::isnan(sums[0]));
}

TYPED_TEST(CudaTiles, SoftmaxOfRowsAndColumns) {
  auto scores = Numbers<TypeParam>().wide(this->kRows * this->kWidth);
  scores[3] = TypeParam(-this->kInfinity);
  const auto log_sums = Numbers<TypeParam>().wide(this->kWidth);
  for (const bool is_by_row : {true, false}) {
    std::vector<TypeParam> out = scores, expected(scores.size());
    for (size_t i = 0; i < scores.size(); ++i)
      expected[i] =
          std::exp2(scores[i] - log_sums[is_by_row ? i / this->kWidth : i % this->kWidth]);
    const auto blocks = static_cast<unsigned>(scores.size() / kThreads + 1);
    launch({blocks, 1}, kThreads, [&] {
      cuda::tile_softmax<kThreads>(out.data(), log_sums.data(), is_by_row, std::ssize(out),
                                   this->kWidth, out.data());
    });
    expect_near(out, expected, kLimit<TypeParam>);
  }
}

}  // namespace
}  // namespace notellm::kernels
