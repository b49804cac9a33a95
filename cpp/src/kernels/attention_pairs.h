// The forward pass of attention in bf16 for processors that multiply pairs of bf16 numbers:
// `attention` with rotated queries, keys and weights rounded to bf16; scores, sums and outputs stay
// fp32. Included once per instruction set, inside its namespace.

#if defined(__AVX512BF16__)

// Where the packed matrices lie in the scratch, which is as large as `AttentionScratch` needs (more
// than this). w and c: head_dim and context, rounded up to whole vectors.
struct PairScratch {
  int64_t w, c;
  Bf16* rows;             // (c, w) keys before they are transposed
  Pair* keys_transposed;  // (w / 2, c)
  Pair* values;           // (c / 2, w)
  Bf16* queries;          // (kBlockRows, w)
  Bf16* weights;          // (kBlockRows, c)
  float* scores;          // (kBlockRows, c)
  float* outputs;         // (kBlockRows, w)

  PairScratch(float* memory, int64_t context, int64_t head_dim)
      : w(whole_vectors<float>(head_dim)), c(whole_vectors<float>(context)) {
    scores = memory, memory += kBlockRows * c;
    outputs = memory, memory += kBlockRows * w;
    auto* halves = reinterpret_cast<Bf16*>(memory);
    const auto take = [&halves](int64_t count) {
      Bf16* begin = halves;
      halves += count;
      return begin;
    };
    rows = take(c * w);
    keys_transposed = reinterpret_cast<Pair*>(take(c * w));
    values = reinterpret_cast<Pair*>(take(c * w));
    queries = take(kBlockRows * w);
    weights = take(kBlockRows * c);
  }
};

inline void fill_zero(Bf16* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i].bits = 0;
}

// Two rows of values interleaved as one row of pairs; zeros if there is no second row.
inline void pair_rows(const Bf16* first, const Bf16* second, int64_t count, Pair* out) {
  int64_t i = 0;
  for (; second && i + kLanes<Pair> <= count; i += kLanes<Pair>) {
    HalfVector low, high;
    __builtin_memcpy(&low, first + i, sizeof(low));
    __builtin_memcpy(&high, second + i, sizeof(high));
    const BitVector both =
        __builtin_convertvector(low, BitVector) | __builtin_convertvector(high, BitVector) << 16;
    __builtin_memcpy(out + i, &both, sizeof(both));
  }
  for (; i < count; ++i) out[i] = {first[i], second ? second[i] : Bf16{0}};
}

// Packs the rotated keys (transposed) and the values (in pairs) of the whole context; zero beyond
// it and beyond head_dim.
inline void pack_context(const AttentionItem<Bf16>& item, int64_t key_head, PairScratch& s) {
  const int64_t e = item.head_dim;
  if (s.w != e || s.c != item.context) {
    fill_zero(s.rows, s.c * s.w);
    fill_zero(&s.values->first, s.c * s.w);
  }
  const Bf16* unpaired = nullptr;  // values of the previous token, if it has no partner yet
  int64_t row = 0;
  for (int64_t r = 0; r < item.range_count; ++r) {
    for (int64_t i = 0; i < item.ranges[r].length; ++i, ++row) {
      const int64_t token = item.ranges[r].begin + i;
      const int64_t at = token * item.key_stride + key_head * e;
      rotate(item.keys + at, item.cos + token * e, item.sin + token * e, e, 1.0f, 1.0f,
             s.rows + row * s.w);
      if (row % 2 == 1) pair_rows(unpaired, item.values + at, e, s.values + row / 2 * s.w);
      unpaired = item.values + at;
    }
  }
  if (row % 2 == 1) pair_rows(unpaired, nullptr, e, s.values + row / 2 * s.w);
  transpose(reinterpret_cast<const Pair*>(s.rows), s.c, s.w / 2, s.keys_transposed, s.c);
}

// Rotated queries, scaled by 1 / sqrt(E).
inline void pack_queries(const AttentionItem<Bf16>& item, const RowBlock& block, PairScratch& s) {
  const int64_t e = item.head_dim;
  const float scale = 1.0f / float(__builtin_sqrt(double(e)));
  if (s.w != e) fill_zero(s.queries, kBlockRows * s.w);
  for (int64_t i = 0; i < block.count; ++i) {
    const int64_t token = item.query_tokens[block.query(i)];
    const Bf16* from = item.queries + item.query_rows[block.query(i)] * item.query_stride;
    rotate(from + block.head(i) * e, item.cos + token * e, item.sin + token * e, e, scale, 1.0f,
           s.queries + i * s.w);
  }
}

inline void attention_of_pairs(const AttentionItem<Bf16>& item, int64_t key_head, float* scratch) {
  PairScratch s(scratch, item.context, item.head_dim);
  pack_context(item, key_head, s);
  const int64_t rows = item.query_count * (item.heads / item.key_heads);
  const auto* queries = reinterpret_cast<const Pair*>(s.queries);
  const auto* weights = reinterpret_cast<const Pair*>(s.weights);
  for (int64_t begin = 0; begin < rows; begin += kBlockRows) {
    const RowBlock block = row_block(item, key_head, begin);
    const int64_t last = last_limit(item, block), width = whole_vectors<float>(last);
    pack_queries(item, block, s);
    product(block.count, width, s.w / 2, queries, s.w / 2, int64_t{1}, s.keys_transposed, s.c,
            s.scores, s.c, false);
    float inverse_sums[kBlockRows];
    for (int64_t i = 0; i < block.count; ++i) {
      inverse_sums[i] = softmax_row(item, block, i, width, s.scores + i * s.c, s.weights + i * s.c);
    }
    product(block.count, s.w, (last + 1) / 2, weights, s.c / 2, int64_t{1}, s.values, s.w,
            s.outputs, s.w, false);
    write_outputs(item, block, s.outputs, s.w, inverse_sums);
  }
}
#endif

template <typename Scalar>
constexpr auto forward_attention() {
  return &attention<Scalar>;
}
#if defined(__AVX512BF16__)
template <>
constexpr auto forward_attention<Bf16>() {
  return &attention_of_pairs;
}
#endif
