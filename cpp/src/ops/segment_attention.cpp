#include "notellm/ops/segment_attention.h"

#include "tensors.h"

#include <vector>

#include "autograd/differentiable.h"
#include "autograd/recorded_step.h"
#include "notellm/ops/dtypes.h"
#include "notellm/util/check.h"
#include "on_kernels.h"
#include "tensor_checks.h"

namespace notellm {
namespace {

using internal::data;
using internal::mutable_data;
using internal::parallel_items;
using internal::with_scalar;
using PlanPtr = std::shared_ptr<const KernelAttentionPlan>;

// The tensors of one call and where the heads lie in them.
struct Inputs {
  at::Tensor queries, packed, cos, sin;
  AttentionHeads heads;

  bool are_packed() const { return !queries.defined(); }
  const at::Tensor& query_source() const { return are_packed() ? packed : queries; }
  int64_t key_offset() const { return are_packed() ? heads.heads * heads.head_dim : 0; }
  int64_t value_offset() const { return key_offset() + heads.key_heads * heads.head_dim; }
};

// The kernels' view of one item.
template <typename Scalar>
kernels::AttentionItem<Scalar> item_view(const Inputs& in,
                                         const KernelAttentionPlan& plan,
                                         const KernelAttentionPlan::Item& item,
                                         const at::Tensor& output,
                                         const at::Tensor& log_sums) {
  using Acc = kernels::Accumulator<Scalar>;
  const int64_t q = item.first_query;
  return {in.heads.heads,
          in.heads.key_heads,
          in.heads.head_dim,
          data<Acc>(in.cos),
          data<Acc>(in.sin),
          data<Scalar>(in.query_source()),
          in.query_source().stride(0),
          plan.query_rows.data() + q,
          plan.query_tokens.data() + q,
          plan.limits.data() + q,
          item.query_count,
          data<Scalar>(in.packed) + in.key_offset(),
          data<Scalar>(in.packed) + in.value_offset(),
          in.packed.stride(0),
          plan.ranges.data() + item.first_range,
          item.range_count,
          item.context,
          mutable_data<Scalar>(output),
          mutable_data<Acc>(log_sums)};
}

// Calls `body(item, key head, scratch)` for all items and key heads, on all threads.
template <typename Scalar, typename Body>
void for_items(const KernelAttentionPlan& plan, const AttentionHeads& heads, const Body& body) {
  using Acc = kernels::Accumulator<Scalar>;
  int64_t longest = 0;
  for (const auto& item : plan.items) longest = std::max(longest, item.context);
  const int64_t size = kernels::tables().of<Scalar>().attention_scratch(longest, heads.head_dim);
  // one key head after another: neighbouring items of the forest read the same ancestors
  const int64_t items = std::ssize(plan.items);
  parallel_items(
      items * heads.key_heads, [size] { return std::vector<Acc>(size); },
      [&](int64_t i, std::vector<Acc>& scratch) { body(i % items, i / items, scratch.data()); });
}

template <typename Scalar>
void run_forward(const Inputs& in,
                 const KernelAttentionPlan& plan,
                 const at::Tensor& output,
                 const at::Tensor& log_sums) {
  const auto& table = kernels::tables().of<Scalar>();
  for_items<Scalar>(plan, in.heads, [&](int64_t i, int64_t key_head, auto* scratch) {
    table.attention(item_view<Scalar>(in, plan, plan.items[i], output, log_sums), key_head,
                    scratch);
  });
}

// Each item's own gradients of keys and values: for item i and key head h two (context, w) matrices
// at `offsets[i] + h * context * w`.
template <typename Acc>
struct ContextGradients {
  int64_t w;
  std::vector<int64_t> offsets;
  std::vector<Acc> keys, values;

  ContextGradients(const KernelAttentionPlan& plan, int64_t key_heads, int64_t width) : w(width) {
    int64_t size = 0;
    for (const auto& item : plan.items) {
      offsets.push_back(size);
      size += item.context * w * key_heads;
    }
    keys.resize(size), values.resize(size);
  }
  int64_t at(const KernelAttentionPlan& plan, int64_t item, int64_t key_head) const {
    return offsets[item] + key_head * plan.items[item].context * w;
  }
};

// Sums each token's key and value gradients over all items that see it, in the order of the items,
// and writes them into the packed gradient.
template <typename Scalar>
void sum_context_gradients(const Inputs& in,
                           const KernelAttentionPlan& plan,
                           const ContextGradients<kernels::Accumulator<Scalar>>& parts,
                           const at::Tensor& packed_gradient) {
  using Acc = kernels::Accumulator<Scalar>;
  const auto& table = kernels::tables().of<Scalar>();
  const auto& sums = kernels::tables().of<Acc>();
  const int64_t e = in.heads.head_dim, row_length = packed_gradient.size(1);
  const auto sum_segment = [&](int64_t s, std::vector<Acc>& sum) {
    const int64_t begin = plan.segment_offsets[s], end = plan.segment_offsets[s + 1];
    for (int64_t token = begin; token < end; ++token) {
      Scalar* row = mutable_data<Scalar>(packed_gradient) + token * row_length;
      for (int64_t h = 0; h < in.heads.key_heads; ++h) {
        std::fill(sum.begin(), sum.end(), Acc(0));
        Acc *key = sum.data(), *value = key + parts.w;
        for (const auto& use : plan.uses[s]) {
          const int64_t from = parts.at(plan, use.item, h) + (use.offset + token - begin) * parts.w;
          sums.add(key, parts.keys.data() + from, parts.w, key);
          sums.add(value, parts.values.data() + from, parts.w, value);
        }
        table.unrotate(key, data<Acc>(in.cos) + token * e, data<Acc>(in.sin) + token * e, e,
                       row + in.key_offset() + h * e);
        table.convert(value, e, row + in.value_offset() + h * e);
      }
    }
  };
  parallel_items(
      std::ssize(plan.uses), [&] { return std::vector<Acc>(2 * parts.w); }, sum_segment);
}

template <typename Scalar>
void run_backward(const Inputs& in,
                  const KernelAttentionPlan& plan,
                  const at::Tensor& output,
                  const at::Tensor& log_sums,
                  const at::Tensor& output_gradient,
                  const at::Tensor& query_gradient,
                  const at::Tensor& packed_gradient) {
  using Acc = kernels::Accumulator<Scalar>;
  const auto& table = kernels::tables().of<Scalar>();
  ContextGradients<Acc> parts(plan, in.heads.key_heads, table.gradient_width(in.heads.head_dim));
  for_items<Scalar>(plan, in.heads, [&](int64_t i, int64_t key_head, Acc* scratch) {
    const int64_t at = parts.at(plan, i, key_head);
    const kernels::AttentionGradients<Scalar> gradients{
        data<Scalar>(output_gradient), mutable_data<Scalar>(query_gradient),
        query_gradient.stride(0), parts.keys.data() + at, parts.values.data() + at};
    table.attention_backward(item_view<Scalar>(in, plan, plan.items[i], output, log_sums),
                             gradients, key_head, scratch);
  });
  sum_context_gradients<Scalar>(in, plan, parts, packed_gradient);
}

internal::Forward forward(const Inputs& in, const KernelAttentionPlan& plan) {
  const internal::RecordedStep record("notellm::segment_attention");
  const int64_t width = in.heads.heads * in.heads.head_dim;
  at::Tensor output = at::empty({plan.rows(), width}, in.packed.options());
  at::Tensor log_sums = at::empty({plan.rows(), in.heads.heads}, in.cos.options());
  with_scalar(in.packed.scalar_type(),
              [&](auto scalar) { run_forward<decltype(scalar)>(in, plan, output, log_sums); });
  return {output, {in.queries, in.packed, in.cos, in.sin, output, log_sums}};
}

// Gradients of queries and packed.
std::vector<at::Tensor> backward(const internal::Backward& given,
                                 const KernelAttentionPlan& plan,
                                 const AttentionHeads& heads) {
  internal::refuse_double_backward("segment_attention");
  const internal::RecordedStep record("notellm::segment_attention_backward");
  const auto& saved = given.saved;
  const Inputs in{saved[0], saved[1], saved[2], saved[3], heads};
  at::Tensor packed_gradient = at::empty_like(in.packed);
  at::Tensor query_gradient = in.are_packed() ? packed_gradient : at::empty_like(in.queries);
  const at::Tensor output_gradient = given.gradient.to(in.packed.scalar_type()).contiguous();
  with_scalar(in.packed.scalar_type(), [&](auto scalar) {
    run_backward<decltype(scalar)>(in, plan, saved[4], saved[5], output_gradient, query_gradient,
                                   packed_gradient);
  });
  return {in.are_packed() ? at::Tensor() : query_gradient, packed_gradient};
}

void check(const at::Tensor& queries,
           const at::Tensor& packed,
           const RopeTable& table,
           const KernelAttentionPlan& plan,
           const AttentionHeads& heads) {
  constexpr const char* where = "segment_attention";
  internal::require(
      heads.key_heads >= 1 && heads.heads >= heads.key_heads && heads.heads % heads.key_heads == 0,
      where, "query heads must be a multiple of key heads, but are ", heads.heads, " and ",
      heads.key_heads);
  internal::require(heads.head_dim >= 2 && heads.head_dim % 2 == 0, where,
                    "head_dim must be even and at least 2, but is ", heads.head_dim);
  const int64_t width = heads.heads * heads.head_dim;
  const int64_t packed_width =
      2 * heads.key_heads * heads.head_dim + (queries.defined() ? 0 : width);
  internal::check_floating(where, "packed", packed, {plan.tokens(), packed_width});
  internal::check_compute_dtype(where, packed.scalar_type());
  internal::check_device(where, "packed", packed, at::kCPU);
  if (queries.defined()) {
    internal::check_tensor(where, "queries", queries, {plan.rows(), width}, packed.scalar_type());
    internal::check_device(where, "queries", queries, at::kCPU);
  }
  for (const at::Tensor* part : {&table.cos, &table.sin}) {
    internal::check_tensor(where, "the table of angles", *part, {plan.tokens(), heads.head_dim},
                           wide_dtype(packed.scalar_type()));
    internal::check_device(where, "the table of angles", *part, at::kCPU);
  }
}

}  // namespace

at::Tensor segment_attention(const at::Tensor& queries,
                             const at::Tensor& packed,
                             const RopeTable& table,
                             const PlanPtr& plan,
                             const AttentionHeads& heads) {
  check(queries, packed, table, *plan, heads);
  return internal::differentiable(
      {queries, packed},
      [&] {
        const at::Tensor asking = queries.defined() ? queries.contiguous() : queries;
        return forward(
            {asking, packed.contiguous(), table.cos.contiguous(), table.sin.contiguous(), heads},
            *plan);
      },
      [plan, heads](const internal::Backward& given) { return backward(given, *plan, heads); });
}

}  // namespace notellm
