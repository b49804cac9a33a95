// Everything that is compiled once per instruction set, and the table of its functions.
#include "notellm/kernels/table.h"
#include "tables.h"

namespace notellm::kernels::NOTELLM_ISA {
namespace {

#include "simd.h"
//
#include "product.h"
#include "rows.h"
#include "scores.h"
//
#include "attention.h"
//
#include "attention_pairs.h"

template <typename Scalar>
void unrotate(const Accumulator<Scalar>* x,
              const Accumulator<Scalar>* cos,
              const Accumulator<Scalar>* sin,
              int64_t head_dim,
              Scalar* out) {
  using Acc = Accumulator<Scalar>;
  rotate(x, cos, sin, head_dim, Acc(1), Acc(-1), out);
}

template <typename Scalar>
int64_t gradient_width(int64_t head_dim) {
  return whole_vectors<Accumulator<Scalar>>(head_dim);
}

template <typename Scalar>
constexpr Table<Scalar> make_table() {
  return {&rms_norm<Scalar>,
          &rms_norm_backward<Scalar>,
          &swiglu<Scalar>,
          &swiglu_backward<Scalar>,
          &add<Scalar>,
          &convert<Scalar>,
          &convert_back<Scalar>,
          &round<Scalar>,
          &dequantise<Scalar>,
          &unrotate<Scalar>,
          &count_scores<Accumulator<Scalar>>,
          &first_not_below<Accumulator<Scalar>>,
          &gradient_width<Scalar>,
          &AttentionScratch<Accumulator<Scalar>>::size,
          forward_attention<Scalar>(),
          &attention_backward<Scalar>};
}

constexpr Tables kTables{make_table<float>(), make_table<double>(), make_table<Bf16>()};

}  // namespace

const Tables& tables() { return kTables; }

}  // namespace notellm::kernels::NOTELLM_ISA
