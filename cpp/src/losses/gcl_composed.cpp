#include "gcl_composed.h"

#include "tensors.h"

#include <limits>

namespace notellm::internal {
namespace {

// (anchors, R) bool: the rows that anchor i leaves out: itself, and with ids all other copies of
// itself and of its partner.
at::Tensor excluded(const at::Tensor& note_ids,
                    const at::Tensor& anchors,
                    const at::Tensor& partners,
                    int64_t rows) {
  const at::Tensor all = at::arange(rows, anchors.options());
  at::Tensor mask = anchors.unsqueeze(1) == all.unsqueeze(0);
  if (!note_ids.defined()) return mask;
  const auto is_note_of = [&](const at::Tensor& some) {
    return note_ids.index_select(0, some).unsqueeze(1) == note_ids.unsqueeze(0);
  };
  mask = mask | is_note_of(anchors) | is_note_of(partners);
  return mask.scatter(1, partners.unsqueeze(1), false);
}

}  // namespace

at::Tensor gcl_composed(const at::Tensor& unit, const at::Tensor& scale, const GclRows& given) {
  const auto [begin, end] = *given.anchors;
  const auto integers = unit.options().dtype(at::kLong).requires_grad(false);
  const at::Tensor anchors = at::arange(begin, end, integers);
  const at::Tensor partners = anchors.bitwise_xor(1);
  at::Tensor logits = unit.narrow(0, begin, end - begin).matmul(unit.t()) * scale;  // (anchors, R)
  if (given.log_q.defined()) logits = logits - given.log_q;
  logits = logits.masked_fill(excluded(given.note_ids, anchors, partners, unit.size(0)),
                              -std::numeric_limits<double>::infinity());
  const at::Tensor positive = logits.gather(1, partners.unsqueeze(1)).squeeze(1);  // (anchors)
  return (logits.logsumexp(1) - positive).sum();
}

}  // namespace notellm::internal
