#include "notellm/models/plan.h"

#include <c10/core/GradMode.h>
#include "tensors.h"

#include <iterator>
#include <utility>
#include <vector>

#include "checks.h"
#include "notellm/ops/dropout.h"
#include "notellm/ops/matmul.h"
#include "notellm/ops/on_device.h"
#include "notellm/util/check.h"
#include "ops/on_kernels.h"

namespace notellm {
namespace {

void check_read_rows(std::span<const int64_t> read_rows, int64_t tokens) {
  for (const int64_t row : read_rows) {
    if (row >= 0 && row < tokens) continue;
    internal::throw_error<std::out_of_range>("plan_decoder", "read rows must be in [0, ", tokens,
                                             "), but one is ", row);
  }
}

// What a model was not made for would be computed all the same, with positions it has never seen.
void check_positions(const Segments& segments, int64_t max_positions) {
  for (int64_t s = 0; max_positions > 0 && s < segments.count(); ++s) {
    const int64_t length = segments.start(s) + segments.length(s);
    internal::require(length <= max_positions, "plan_decoder",
                      "a sequence must fit the model's context of ", max_positions,
                      " tokens, but one takes ", length,
                      "; try a prompt that cuts titles and contents shorter");
  }
}

// Read rows and padding of a plan, so that matrix products have few shapes.
struct Padded {
  int64_t padding, read_padding;
  std::vector<int64_t> read_rows;  // ends with the last tokens of the padding
};

Padded padded(int64_t tokens, std::optional<std::span<const int64_t>> read_rows) {
  const int64_t reads = read_rows ? std::ssize(*read_rows) : 0;
  const int64_t read_padding = whole_rows(reads) - reads;
  const int64_t all = whole_rows(tokens + read_padding);
  Padded made{all - tokens, read_padding, {}};
  if (read_rows) made.read_rows.assign(read_rows->begin(), read_rows->end());
  for (int64_t i = all - read_padding; i < all; ++i) made.read_rows.push_back(i);
  return made;
}

// Fills in what the CPU loops need to know about a forest.
void plan_on_kernels(DecoderPlan& plan,
                     const Segments& segments,
                     const RopeOptions& rope,
                     std::optional<std::span<const int64_t>> read_rows) {
  std::vector<int64_t> rows;
  if (plan.dtype != at::kDouble) {  // fp64 needs no padding: BLAS compiles nothing
    Padded made = padded(segments.tokens(), read_rows);
    plan.padding = made.padding, plan.read_padding = made.read_padding;
    rows = std::move(made.read_rows);
    if (read_rows) read_rows = rows;
  }
  if (read_rows) plan.read_rows = plan.host_read_rows = on_device(*read_rows, at::kCPU);
  const Segments whole = segments.with_root(plan.padding);
  plan.kernel_attention = std::make_shared<const KernelAttentionPlan>(plan_kernel_attention(whole));
  plan.kernel_read_attention =
      read_rows
          ? std::make_shared<const KernelAttentionPlan>(plan_kernel_attention(whole, read_rows))
          : plan.kernel_attention;
  plan.rope = rope_table(whole.positions(), rope, attention_dtype(plan.dtype, at::kCPU));
}

// For LibTorch's operations. Where nothing is differentiated, flash attention reads shared prefixes
// in place; its log-sums, by which the parts are merged, have no gradient.
ComposedAttentionPlan plan_on_torch(const Segments& segments,
                                    at::ScalarType dtype,
                                    at::Device device,
                                    int64_t head_dim) {
  const bool is_flash = takes_flash_attention(device, dtype, head_dim);
  ComposedAttentionPlan plan;
  if (is_flash && !at::GradMode::is_enabled())
    plan.levels = prefix_levels(segments, device);
  else
    plan = plan_composed_attention(segments, at::TensorOptions().dtype(dtype).device(device),
                                   !is_flash);
  return plan;
}

}  // namespace

at::ScalarType attention_dtype(at::ScalarType compute, at::Device device) {
  return compute == at::kBFloat16 && device.is_cpu() ? at::kFloat : compute;
}

DecoderPlan plan_decoder(const Segments& segments,
                         const DecoderConfig& config,
                         at::ScalarType compute,
                         at::Device device,
                         std::optional<std::span<const int64_t>> read_rows) {
  internal::check_compute_dtype("plan_decoder", compute);
  internal::check_config("plan_decoder", config);
  check_read_rows(read_rows.value_or(std::span<const int64_t>()), segments.tokens());
  check_positions(segments, config.max_positions);
  DecoderPlan plan;
  plan.dtype = compute;
  plan.tokens = segments.tokens();
  if (internal::runs_on_kernels(device)) {
    plan_on_kernels(plan, segments, config.rope, read_rows);
  } else {
    const at::ScalarType dtype = attention_dtype(compute, device);
    plan.composed_attention = plan_on_torch(segments, dtype, device, config.rope.head_dim);
    plan.rope = rope_table(on_device(segments.positions(), device), config.rope, dtype);
    if (read_rows) {
      plan.host_read_rows = on_device(*read_rows, at::kCPU);
      plan.read_rows = on_device(plan.host_read_rows, device);
    }
  }
  return plan;
}

DecoderPlan with_dropout(DecoderPlan plan,
                         const Segments& segments,
                         std::span<const int64_t> tokens,
                         uint64_t seed) {
  internal::require(segments.tokens() == plan.tokens, "with_dropout",
                    "the forest must be the plan's, of ", plan.tokens, " tokens, but is of ",
                    segments.tokens());
  plan.dropout_seed = seed;
  plan.dropout_keys = at::constant_pad_nd(prefix_keys(tokens, segments), {0, plan.padding});
  plan.read_dropout_keys = plan.host_read_rows.defined()
                               ? plan.dropout_keys.index_select(0, plan.host_read_rows)
                               : plan.dropout_keys;
  return plan;
}

}  // namespace notellm
