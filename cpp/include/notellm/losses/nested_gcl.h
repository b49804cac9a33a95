#pragma once

#include <cstdint>
#include <span>

#include "notellm/losses/gcl.h"

namespace notellm {

/// Matryoshka representation learning (Kusupati et al. 2022) of the contrastive loss, eq. (2): the
/// first m numbers of an embedding must pick out its partner, too, for each m that is asked for.
///
///   loss = 1 / (M + 1) * (gcl(e[:, :m_1]) + ... + gcl(e[:, :m_M]) + gcl(e))     all weights equal
///
/// Each part is normalised anew, all share tau.
///
/// @param nested_dims  m_1 < ... < m_M, each in [1, d - 1]; none: `gcl_loss`, to the bit.
/// Other parameters, result, errors and determinism as of `gcl_loss`; cost: that of M + 1 calls.
LossTerm nested_gcl_loss(const at::Tensor& embeddings,
                         const at::Tensor& tau,
                         std::span<const int64_t> nested_dims,
                         const GclRows& given = {});

}  // namespace notellm
