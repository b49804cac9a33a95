#include "notellm/losses/gcl.h"

#include <ATen/ATen.h>

#include <limits>

#include "notellm/util/check.h"

namespace notellm {
namespace {

// (2B, 2B) bool: what anchor i must not see. Itself always; with ids, further copies of itself and
// of its partner.
at::Tensor excluded(const at::Tensor& note_ids,
                    const at::Tensor& partner,
                    const at::Tensor& embeddings) {
  const int64_t rows = embeddings.size(0);
  const auto options = embeddings.options().dtype(at::kBool).requires_grad(false);
  at::Tensor mask = at::eye(rows, options);
  if (!note_ids.defined()) return mask;
  const at::Tensor same =
      note_ids.unsqueeze(1) == note_ids.unsqueeze(0);  // i and j are the same note
  mask = mask | same | same.index_select(0, partner);  // j is i's partner's note
  return mask.scatter(1, partner.unsqueeze(1), false);
}

}  // namespace

LossTerm gcl_loss(const at::Tensor& embeddings, const at::Tensor& tau, const at::Tensor& note_ids) {
  NOTELLM_CHECK_ARG(embeddings.dim() == 2 && embeddings.size(0) > 0 && embeddings.size(0) % 2 == 0,
                    "embeddings must be (2B, d) with an even number of rows, but are ",
                    embeddings.sizes());
  NOTELLM_CHECK_ARG(embeddings.is_floating_point(), "embeddings must be floating point, but are ",
                    embeddings.dtype());
  NOTELLM_CHECK_ARG(tau.numel() == 1, "tau must be a scalar, but has shape ", tau.sizes());
  const int64_t rows = embeddings.size(0);
  NOTELLM_CHECK_ARG(!note_ids.defined() || (note_ids.dim() == 1 && note_ids.size(0) == rows),
                    "note_ids must have one entry a row (", rows, "), but have shape ",
                    note_ids.sizes());

  const at::Tensor unit = embeddings / embeddings.norm(2, {1}, true).clamp_min(1e-12);
  const at::Tensor partner =
      at::arange(rows, embeddings.options().dtype(at::kLong).requires_grad(false))
          .bitwise_xor(1);                                                   // (2B)
  const at::Tensor logits = (unit.matmul(unit.t()) * tau.reshape({}).exp())  // (2B, 2B)
                                .masked_fill(excluded(note_ids, partner, embeddings),
                                             -std::numeric_limits<double>::infinity());
  const at::Tensor positive = logits.gather(1, partner.unsqueeze(1)).squeeze(1);  // (2B)
  return {(logits.logsumexp(1) - positive).sum(), rows};
}

}  // namespace notellm
