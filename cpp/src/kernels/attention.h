// Attention of one segment's queries over its chain, for the query heads that share a key head;
// included once per instruction set, inside its namespace.
//
// Keys and queries are rotated and widened while they are packed into scratch; all matrix products
// then read from the processor's L1 and L2 caches. Query rows are (query, head) pairs, which share
// the packed keys.

constexpr int64_t kBlockRows = 48;  // query rows at once: their scores stay in the L2 cache

template <typename Acc>
inline int64_t whole_vectors(int64_t n) {
  return (n + kLanes<Acc> - 1) / kLanes<Acc> * kLanes<Acc>;
}

// Where the packed matrices lie in scratch. w and c: head_dim and context, rounded up to whole
// vectors.
template <typename Acc>
struct AttentionScratch {
  int64_t w, c;
  Acc* keys;               // (c, w)
  Acc* keys_transposed;    // (w, c)
  Acc* values;             // (c, w)
  Acc* values_transposed;  // (w, c)
  Acc* queries;            // (kBlockRows, w)
  Acc* outputs;            // (kBlockRows, w)
  Acc* scores;             // (kBlockRows, c)
  Acc* score_gradient;     // (kBlockRows, c)
  Acc* query_gradient;     // (kBlockRows, w)

  static int64_t size(int64_t context, int64_t head_dim) {
    const int64_t w = whole_vectors<Acc>(head_dim), c = whole_vectors<Acc>(context);
    return 4 * c * w + 3 * kBlockRows * w + 2 * kBlockRows * c;
  }
  AttentionScratch(Acc* memory, int64_t context, int64_t head_dim)
      : w(whole_vectors<Acc>(head_dim)), c(whole_vectors<Acc>(context)) {
    const auto take = [&memory](int64_t count) {
      Acc* begin = memory;
      memory += count;
      return begin;
    };
    keys = take(c * w), keys_transposed = take(c * w);
    values = take(c * w), values_transposed = take(c * w);
    queries = take(kBlockRows * w), outputs = take(kBlockRows * w);
    scores = take(kBlockRows * c), score_gradient = take(kBlockRows * c);
    query_gradient = take(kBlockRows * w);
  }
};

template <typename Acc>
inline void fill_zero(Acc* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = Acc(0);
}

// Rotates one head: (x1 cos - x2 sin, x2 cos + x1 sin) for its halves x1 and x2, times `scale`. A
// negative `sign` undoes the rotation.
template <typename From, typename To, typename Acc>
inline void rotate(
    const From* x, const Acc* cos, const Acc* sin, int64_t head_dim, Acc scale, Acc sign, To* out) {
  const int64_t half = head_dim / 2;
  int64_t i = 0;
  for (; i + kLanes<Acc> <= half; i += kLanes<Acc>) {
    const Vector<Acc> first = load(x + i), second = load(x + half + i);
    const Vector<Acc> c = load(cos + i) * scale, s = load(sin + i) * (scale * sign);
    store(out + i, first * c - second * s);
    store(out + half + i, second * c + first * s);
  }
  for (; i < half; ++i) {
    const Acc first = widen(x[i]), second = widen(x[half + i]);
    const Acc c = cos[i] * scale, s = sin[i] * scale * sign;
    narrow(out + i, first * c - second * s);
    narrow(out + half + i, second * c + first * s);
  }
}

template <typename From, typename Acc>
inline void widen_row(const From* x, int64_t count, Acc* out) {
  int64_t i = 0;
  for (; i + kLanes<Acc> <= count; i += kLanes<Acc>) store(out + i, load(x + i));
  for (; i < count; ++i) out[i] = widen(x[i]);
}

template <typename Acc, typename To>
inline void scale_row(const Acc* x, int64_t count, Acc factor, To* out) {
  int64_t i = 0;
  for (; i + kLanes<Acc> <= count; i += kLanes<Acc>) store(out + i, load(x + i) * factor);
  for (; i < count; ++i) narrow(out + i, x[i] * factor);
}

// Rounds in the backward pass what `attention_pairs.h` rounds in the forward pass.
template <typename Scalar, typename Acc>
inline void round_as_forward([[maybe_unused]] Acc* x, [[maybe_unused]] int64_t count) {
#if defined(__AVX512BF16__)
  if constexpr (sizeof(Scalar) == sizeof(Bf16)) {
    Bf16 rounded[kLanes<Acc>];
    for (int64_t i = 0; i < count; i += kLanes<Acc>) {
      store(rounded, load(x + i));
      store(x + i, load(rounded));
    }
  }
#endif
}

template <typename Acc, typename Other>
inline Acc dot(const Acc* x, const Other* y, int64_t count) {
  Vector<Acc> sums{};
  int64_t i = 0;
  for (; i + kLanes<Acc> <= count; i += kLanes<Acc>) sums += load(x + i) * load(y + i);
  Acc sum = sum_of<Acc>(sums);
  for (; i < count; ++i) sum += x[i] * widen(y[i]);
  return sum;
}

template <typename T>
inline void transpose(const T* from, int64_t rows, int64_t columns, T* to, int64_t to_row) {
  constexpr int64_t kBlock = 16;  // cache lines of both matrices stay in the L1 cache
  for (int64_t i = 0; i < rows; i += kBlock) {
    const int64_t end = i + kBlock < rows ? i + kBlock : rows;
    for (int64_t j = 0; j < columns; ++j) {
      for (int64_t k = i; k < end; ++k) to[j * to_row + k] = from[k * columns + j];
    }
  }
}

// Packs the rotated keys and the values of the whole context; zero beyond it and beyond head_dim.
template <typename Scalar, typename Acc>
inline void pack_context(const AttentionItem<Scalar>& item,
                         int64_t key_head,
                         AttentionScratch<Acc>& s,
                         bool packs_values_across) {
  const int64_t e = item.head_dim;
  if (s.w != e || s.c != item.context) {
    fill_zero(s.keys, s.c * s.w);
    fill_zero(s.values, s.c * s.w);
  }
  int64_t row = 0;
  for (int64_t r = 0; r < item.range_count; ++r) {
    for (int64_t i = 0; i < item.ranges[r].length; ++i, ++row) {
      const int64_t token = item.ranges[r].begin + i;
      const int64_t at = token * item.key_stride + key_head * e;
      rotate(item.keys + at, item.cos + token * e, item.sin + token * e, e, Acc(1), Acc(1),
             s.keys + row * s.w);
      round_as_forward<Scalar>(s.keys + row * s.w, s.w);
      widen_row(item.values + at, e, s.values + row * s.w);
    }
  }
  transpose(s.keys, s.c, s.w, s.keys_transposed, s.c);
  if (packs_values_across) transpose(s.values, s.c, s.w, s.values_transposed, s.c);
}

// Query rows [begin, begin + count) of the item: row / group is the query, row % group its head.
struct RowBlock {
  int64_t begin, count, group, first_head;
  int64_t query(int64_t i) const { return (begin + i) / group; }
  int64_t head(int64_t i) const { return first_head + (begin + i) % group; }
};

template <typename Scalar>
inline RowBlock row_block(const AttentionItem<Scalar>& item, int64_t key_head, int64_t begin) {
  const int64_t group = item.heads / item.key_heads;
  const int64_t left = item.query_count * group - begin;
  return {begin, left < kBlockRows ? left : kBlockRows, group, key_head * group};
}

// Rotated queries, scaled by 1 / sqrt(E).
template <typename Scalar, typename Acc>
inline void pack_queries(const AttentionItem<Scalar>& item,
                         const RowBlock& block,
                         AttentionScratch<Acc>& s) {
  const int64_t e = item.head_dim;
  const Acc scale = Acc(1) / Acc(__builtin_sqrt(double(e)));
  if (s.w != e) fill_zero(s.queries, kBlockRows * s.w);
  for (int64_t i = 0; i < block.count; ++i) {
    const int64_t token = item.query_tokens[block.query(i)];
    const Scalar* from = item.queries + item.query_rows[block.query(i)] * item.query_stride;
    rotate(from + block.head(i) * e, item.cos + token * e, item.sin + token * e, e, scale, Acc(1),
           s.queries + i * s.w);
    round_as_forward<Scalar>(s.queries + i * s.w, s.w);
  }
}

// exp(score - shift); 0 at and beyond `limit`. `out` may be `scores`. Returns the sum.
template <typename Acc, typename To>
inline Acc exponentials(const Acc* scores, int64_t limit, int64_t width, Acc shift, To* out) {
  Vector<Acc> sums{};
  int64_t j = 0;
  for (; j + kLanes<Acc> <= limit; j += kLanes<Acc>) {
    const Vector<Acc> value = exp(load(scores + j) - shift);
    sums += value;
    store(out + j, value);
  }
  for (; j < width; j += kLanes<Acc>) {  // the vector that contains the limit, and all after it
    const Vector<Acc> value =
        first_lanes<Acc>(limit - j, exp(load(scores + j) - shift), Vector<Acc>{});
    sums += value;
    store(out + j, value);
  }
  return sum_of<Acc>(sums);
}

// The largest of the first `limit` scores, which lie in whole vectors.
template <typename Acc>
inline Acc largest(const Acc* scores, int64_t limit) {
  Vector<Acc> maxima = splat(scores[0]);
  for (int64_t j = 0; j < limit; j += kLanes<Acc>) {
    const Vector<Acc> value = first_lanes<Acc>(limit - j, load(scores + j), maxima);
    maxima = value > maxima ? value : maxima;
  }
  return max_of<Acc>(maxima);
}

template <typename Scalar>
inline int64_t last_limit(const AttentionItem<Scalar>& item, const RowBlock& block) {
  return item.limits[block.query(block.count - 1)];
}

// Row i of a block: replaces scores by exp(score - largest) and keeps the logarithm of their sum;
// returns 1 / sum.
template <typename Scalar, typename Acc, typename To>
inline Acc softmax_row(const AttentionItem<Scalar>& item,
                       const RowBlock& block,
                       int64_t i,
                       int64_t width,
                       const Acc* scores,
                       To* weights) {
  const int64_t query = block.query(i), limit = item.limits[query];
  const Acc max = largest(scores, limit);
  const Acc sum = exponentials(scores, limit, width, max, weights);
  item.log_sums[item.query_rows[query] * item.heads + block.head(i)] = max + log(sum);
  return Acc(1) / sum;
}

template <typename Scalar, typename Acc>
inline void write_outputs(const AttentionItem<Scalar>& item,
                          const RowBlock& block,
                          const Acc* outputs,
                          int64_t output_row,
                          const Acc* factors) {
  const int64_t e = item.head_dim;
  for (int64_t i = 0; i < block.count; ++i) {
    const int64_t at = item.query_rows[block.query(i)] * item.heads + block.head(i);
    scale_row(outputs + i * output_row, e, factors[i], item.output + at * e);
  }
}

template <typename Scalar>
inline void attention(const AttentionItem<Scalar>& item,
                      int64_t key_head,
                      Accumulator<Scalar>* scratch) {
  using Acc = Accumulator<Scalar>;
  AttentionScratch<Acc> s(scratch, item.context, item.head_dim);
  pack_context(item, key_head, s, false);
  const int64_t rows = item.query_count * (item.heads / item.key_heads);
  for (int64_t begin = 0; begin < rows; begin += kBlockRows) {
    const RowBlock block = row_block(item, key_head, begin);
    const int64_t width = whole_vectors<Acc>(last_limit(item, block));
    pack_queries(item, block, s);
    product(block.count, width, s.w, s.queries, s.w, int64_t{1}, s.keys_transposed, s.c, s.scores,
            s.c, false);
    Acc inverse_sums[kBlockRows];
    for (int64_t i = 0; i < block.count; ++i) {
      Acc* scores = s.scores + i * s.c;
      inverse_sums[i] = softmax_row(item, block, i, width, scores, scores);
    }
    product(block.count, s.w, last_limit(item, block), s.scores, s.c, int64_t{1}, s.values, s.w,
            s.outputs, s.w, false);
    write_outputs(item, block, s.outputs, s.w, inverse_sums);
  }
}

// s.scores = P, s.score_gradient = P (dP - sum(dO O)), where P are the attention weights.
template <typename Scalar, typename Acc>
inline void weights_and_gradient(const AttentionItem<Scalar>& item,
                                 const AttentionGradients<Scalar>& gradients,
                                 const RowBlock& block,
                                 int64_t width,
                                 AttentionScratch<Acc>& s) {
  const int64_t e = item.head_dim;
  if (s.w != e) fill_zero(s.outputs, kBlockRows * s.w);
  Acc dots[kBlockRows];
  for (int64_t i = 0; i < block.count; ++i) {
    const int64_t row = item.query_rows[block.query(i)];
    const int64_t at = (row * item.heads + block.head(i)) * e;
    widen_row(gradients.output_gradient + at, e, s.outputs + i * s.w);
    dots[i] = dot(s.outputs + i * s.w, item.output + at, e);
  }
  product(block.count, width, s.w, s.queries, s.w, int64_t{1}, s.keys_transposed, s.c, s.scores,
          s.c, false);
  product(block.count, width, s.w, s.outputs, s.w, int64_t{1}, s.values_transposed, s.c,
          s.score_gradient, s.c, false);
  for (int64_t i = 0; i < block.count; ++i) {
    const int64_t query = block.query(i);
    const Acc log_sum = item.log_sums[item.query_rows[query] * item.heads + block.head(i)];
    Acc* weights = s.scores + i * s.c;
    Acc* gradient = s.score_gradient + i * s.c;
    exponentials(weights, item.limits[query], width, log_sum, weights);
    for (int64_t j = 0; j < width; j += kLanes<Acc>) {
      store(gradient + j, load(weights + j) * (load(gradient + j) - dots[i]));
    }
  }
}

template <typename Scalar>
inline void attention_backward(const AttentionItem<Scalar>& item,
                               const AttentionGradients<Scalar>& gradients,
                               int64_t key_head,
                               Accumulator<Scalar>* scratch) {
  using Acc = Accumulator<Scalar>;
  AttentionScratch<Acc> s(scratch, item.context, item.head_dim);
  pack_context(item, key_head, s, true);
  // Key and value gradients are summed over blocks of rows, in whole vectors.
  const int64_t e = item.head_dim, rows = item.query_count * (item.heads / item.key_heads);
  const Acc scale = Acc(1) / Acc(__builtin_sqrt(double(e)));
  fill_zero(gradients.key_gradient, item.context * s.w);
  fill_zero(gradients.value_gradient, item.context * s.w);
  for (int64_t begin = 0; begin < rows; begin += kBlockRows) {
    const RowBlock block = row_block(item, key_head, begin);
    const int64_t limit = last_limit(item, block);
    pack_queries(item, block, s);
    weights_and_gradient(item, gradients, block, whole_vectors<Acc>(limit), s);
    product(block.count, s.w, limit, s.score_gradient, s.c, int64_t{1}, s.keys, s.w,
            s.query_gradient, s.w, false);
    product(limit, s.w, block.count, s.score_gradient, int64_t{1}, s.c, s.queries, s.w,
            gradients.key_gradient, s.w, true);
    product(limit, s.w, block.count, s.scores, int64_t{1}, s.c, s.outputs, s.w,
            gradients.value_gradient, s.w, true);
    for (int64_t i = 0; i < block.count; ++i) {
      const int64_t query = block.query(i), token = item.query_tokens[query];
      Scalar* to = gradients.query_gradient + item.query_rows[query] * gradients.query_stride;
      rotate(s.query_gradient + i * s.w, item.cos + token * e, item.sin + token * e, e, scale,
             Acc(-1), to + block.head(i) * e);
    }
  }
}
