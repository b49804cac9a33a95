#include "notellm/models/cache.h"

#include "tensors.h"

#include <iterator>

#include "notellm/ops/matmul.h"
#include "notellm/ops/on_device.h"
#include "ops/on_kernels.h"

namespace notellm {

DecoderCache make_cache(const DecoderConfig& config,
                        int64_t slots,
                        at::ScalarType compute,
                        at::Device device) {
  DecoderCache cache;
  const auto options = at::TensorOptions().dtype(compute).device(device);
  for (int64_t l = 0; l < config.layers; ++l) {
    cache.layers.push_back(
        at::empty({slots, 2 * config.key_heads * config.rope.head_dim}, options));
  }
  const auto wide = options.dtype(attention_dtype(compute, device));
  cache.rope = {at::empty({slots, config.rope.head_dim}, wide),
                at::empty({slots, config.rope.head_dim}, wide)};
  return cache;
}

void place(DecoderCache& cache,
           int64_t first,
           std::span<const int64_t> positions,
           const DecoderConfig& config) {
  const at::Tensor at = on_device(positions, cache.rope.cos.device());
  const RopeTable table = rope_table(at, config.rope, cache.rope.cos.scalar_type());
  cache.rope.cos.narrow(0, first, std::ssize(positions)).copy_(table.cos);
  cache.rope.sin.narrow(0, first, std::ssize(positions)).copy_(table.sin);
}

DecoderPlan with_slots(DecoderPlan plan, int64_t first, at::Device device) {
  plan.slots = at::arange(first, first + plan.tokens, at::TensorOptions(at::kLong).device(device));
  return plan;
}

DecoderPlan plan_decoding_step(std::span<const std::vector<kernels::TokenRange>> paths,
                               const DecoderCache& cache,
                               at::ScalarType compute) {
  DecoderPlan plan;
  plan.dtype = compute;
  plan.tokens = std::ssize(paths);
  plan.rope = cache.rope;
  plan.reads_cache = true;
  std::vector<int64_t> slots;
  for (const auto& path : paths) slots.push_back(path.back().begin + path.back().length - 1);
  const at::Device device = cache.rope.cos.device();
  plan.slots = on_device(slots, device);
  if (internal::runs_on_kernels(device)) {
    if (compute != at::kDouble) plan.padding = whole_rows(plan.tokens) - plan.tokens;
    plan.kernel_attention = std::make_shared<const KernelAttentionPlan>(
        plan_kernel_decoding_step(paths, cache.slots(), plan.padding));
    plan.kernel_read_attention = plan.kernel_attention;
  } else {
    plan.composed_attention = plan_composed_decoding_step(paths, device);
  }
  return plan;
}

}  // namespace notellm
