#pragma once

#include <cstdint>

/// Hand-written CPU loops on raw pointers, compiled once per instruction set. They know no tensors,
/// allocate nothing and start no threads: `ops/` checks, allocates and divides rows among threads.
namespace notellm::kernels {

/// A bfloat16 number: the upper half of a float.
struct Bf16 {
  uint16_t bits;
};

/// The type in which a scalar type is computed: double for double, float for float and Bf16.
template <typename Scalar>
struct AccumulatorOf {
  using Type = float;
};
template <>
struct AccumulatorOf<double> {
  using Type = double;
};
template <typename Scalar>
using Accumulator = typename AccumulatorOf<Scalar>::Type;

/// Tokens [begin, begin + length) of a packed batch.
struct TokenRange {
  int64_t begin;
  int64_t length;
};

/// Attention of some queries of one segment over the segment's chain. The context is the c tokens
/// of `ranges`, one range after the other. All matrices are row-major; strides count elements.
template <typename Scalar>
struct AttentionItem {
  using Acc = Accumulator<Scalar>;
  int64_t heads, key_heads, head_dim;  ///< H, K, E (even)
  const Acc* cos;                      ///< (tokens, E) rotation of every packed token
  const Acc* sin;

  const Scalar* queries;  ///< (., H E) not yet rotated
  int64_t query_stride;
  const int64_t* query_rows;    ///< (q) rows of `queries`, `output` and `log_sums`
  const int64_t* query_tokens;  ///< (q) the packed token each query stands at
  const int64_t* limits;        ///< (q) how many context tokens each sees: ascending, >= 1
  int64_t query_count;          ///< q

  const Scalar* keys;    ///< (tokens, K E) not yet rotated
  const Scalar* values;  ///< (tokens, K E)
  int64_t key_stride;
  const TokenRange* ranges;
  int64_t range_count;
  int64_t context;  ///< c

  Scalar* output;  ///< (., H E)
  Acc* log_sums;   ///< (., H) log of the sum of the exponentials of the scores
};

/// What the backward pass reads and writes besides an `AttentionItem`.
template <typename Scalar>
struct AttentionGradients {
  using Acc = Accumulator<Scalar>;
  const Scalar* output_gradient;  ///< (., H E)
  Scalar* query_gradient;         ///< (., H E) written
  int64_t query_stride;
  Acc* key_gradient;    ///< (c, w) of rotated keys, written; w = gradient_width(E)
  Acc* value_gradient;  ///< (c, w) written
};

/// The loops for one scalar type.
template <typename Scalar>
struct Table {
  using Acc = Accumulator<Scalar>;

  /// y = x / rms(x) * weight for some rows; `inverse_rms` (rows) is kept for the backward pass.
  void (*rms_norm)(const Acc* x,
                   const Acc* weight,
                   double epsilon,
                   int64_t rows,
                   int64_t width,
                   Scalar* y,
                   Acc* inverse_rms);
  /// Gradient for x (written) and weight (added to `weight_gradient`, may be null).
  void (*rms_norm_backward)(const Scalar* y_gradient,
                            const Acc* x,
                            const Acc* weight,
                            const Acc* inverse_rms,
                            int64_t rows,
                            int64_t width,
                            Acc* x_gradient,
                            Acc* weight_gradient);
  /// out = silu(gate) * up, where a row of `gate_up` is gate and up side by side.
  void (*swiglu)(const Scalar* gate_up, int64_t rows, int64_t width, Scalar* out);
  void (*swiglu_backward)(const Scalar* out_gradient,
                          const Scalar* gate_up,
                          int64_t rows,
                          int64_t width,
                          Scalar* gate_up_gradient);
  /// sum = residual + branch, n numbers.
  void (*add)(const Acc* residual, const Scalar* branch, int64_t n, Acc* sum);
  void (*convert)(const Acc* x, int64_t n, Scalar* out);
  void (*convert_back)(const Scalar* x, int64_t n, Acc* out);
  /// Both conversions in one pass (rounds to `Scalar`); `out` may be `x`.
  void (*round)(const Acc* x, int64_t n, Acc* out);
  /// out = value * scale of its row, (rows, width).
  void (*dequantise)(
      const int8_t* values, const float* scales, int64_t rows, int64_t width, Scalar* out);
  /// Rotates one head (E) back by its token's angles: the gradient of a rotation.
  void (*unrotate)(const Acc* x, const Acc* cos, const Acc* sin, int64_t head_dim, Scalar* out);

  /// Adds how many of n scores are above `high` and how many are below `low`; NaN is neither.
  void (*count_scores)(
      const Acc* scores, int64_t n, Acc low, Acc high, int64_t* greater, int64_t* smaller);
  /// The first of n scores that is not below `floor`, as NaN is not; n if all are.
  int64_t (*first_not_below)(const Acc* scores, int64_t n, Acc floor);

  /// E rounded up to whole vectors: the row length of `AttentionGradients`' key and value
  /// gradients.
  int64_t (*gradient_width)(int64_t head_dim);
  /// Numbers of `Acc` that the two functions below need as scratch.
  int64_t (*attention_scratch)(int64_t context, int64_t head_dim);
  /// Fills `output` and `log_sums` of the query heads that share a key head.
  void (*attention)(const AttentionItem<Scalar>& item, int64_t key_head, Acc* scratch);
  void (*attention_backward)(const AttentionItem<Scalar>& item,
                             const AttentionGradients<Scalar>& gradients,
                             int64_t key_head,
                             Acc* scratch);
};

/// All loops of one instruction set.
struct Tables {
  Table<float> f32;
  Table<double> f64;
  Table<Bf16> bf16;

  template <typename Scalar>
  const Table<Scalar>& of() const;
};
template <>
inline const Table<float>& Tables::of<float>() const {
  return f32;
}
template <>
inline const Table<double>& Tables::of<double>() const {
  return f64;
}
template <>
inline const Table<Bf16>& Tables::of<Bf16>() const {
  return bf16;
}

/// The loops of the instruction set in use (`instruction_set.h`); for `none`, those of the
/// baseline, of which only the comparisons of scores are called then.
const Tables& tables();

}  // namespace notellm::kernels
