#include "notellm/ops/projection.h"
#include "tensors.h"

#include <gtest/gtest.h>

#include "notellm/kernels/instruction_set.h"
#include "notellm/ops/matmul.h"

namespace notellm {
namespace {

// With unit matrices for down and up, and nothing else, a projection is its dropout.
TEST(Project, RoundsWhatDropoutKeepsOnceWithoutLoopsToo) {
  at::manual_seed(0);
  constexpr at::ScalarType dtype = at::kBFloat16;
  const Dropout dropout{0.1, 7, 0, at::arange(50, at::kLong)};
  const at::Tensor source = at::randn({50, 16}).to(dtype);
  const at::Tensor unit = for_products(at::eye(16), dtype);
  const ProjectionWeights weights{
      dtype, for_products(at::zeros({16, 16}), dtype), {}, {unit, unit, dropout}};
  const ProjectionInput input{Prologue::kNone, source, {}, 0};
  const at::Tensor by_loops = project(input, weights);
  set_instruction_set("none");
  const at::Tensor composed = project(input, weights);
  set_instruction_set("");
  EXPECT_TRUE(at::equal(by_loops, drop(source, dropout)));
  EXPECT_TRUE(at::equal(composed, by_loops));
}

}  // namespace
}  // namespace notellm
