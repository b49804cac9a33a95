// Small dense matrix products whose factors are in the processor's caches; included once per
// instruction set, inside its namespace.

// A tile of C (rows x vectors), kept in registers over the whole inner dimension.
template <typename T, int kRows, int kVectors>
inline void product_tile(int64_t inner,
                         const T* a,
                         int64_t a_row,
                         int64_t a_inner,
                         const T* b,
                         int64_t b_row,
                         Accumulator<T>* c,
                         int64_t c_row,
                         bool adds) {
  Vector<Accumulator<T>> sums[kRows][kVectors] = {};
  for (int64_t k = 0; k < inner; ++k) {
    Vector<T> right[kVectors];
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) right[j] = load(b + k * b_row + j * kLanes<T>);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const T left = a[i * a_row + k * a_inner];
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j) multiply_add(sums[i][j], left, right[j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      Accumulator<T>* to = c + i * c_row + j * kLanes<T>;
      store(to, adds ? load(to) + sums[i][j] : sums[i][j]);
    }
  }
}

// All rows of C for one column of tiles.
template <typename T, int kVectors>
inline void product_column(int64_t rows,
                           int64_t inner,
                           const T* a,
                           int64_t a_row,
                           int64_t a_inner,
                           const T* b,
                           int64_t b_row,
                           Accumulator<T>* c,
                           int64_t c_row,
                           bool adds) {
  int64_t i = 0;
  for (; i + kTileRows <= rows; i += kTileRows) {
    product_tile<T, kTileRows, kVectors>(inner, a + i * a_row, a_row, a_inner, b, b_row,
                                         c + i * c_row, c_row, adds);
  }
  for (; i + 2 <= rows; i += 2) {
    product_tile<T, 2, kVectors>(inner, a + i * a_row, a_row, a_inner, b, b_row, c + i * c_row,
                                 c_row, adds);
  }
  if (i < rows) {
    product_tile<T, 1, kVectors>(inner, a + i * a_row, a_row, a_inner, b, b_row, c + i * c_row,
                                 c_row, adds);
  }
}

// C = A B, or C += A B. C is (rows, columns) and B (inner, columns), both row-major; `columns` is a
// whole number of vectors. A's element (i, k) is a[i * a_row + k * a_inner], so A may be
// transposed. For elements that are pairs, `inner` counts pairs.
template <typename T>
inline void product(int64_t rows,
                    int64_t columns,
                    int64_t inner,
                    const T* a,
                    int64_t a_row,
                    int64_t a_inner,
                    const T* b,
                    int64_t b_row,
                    Accumulator<T>* c,
                    int64_t c_row,
                    bool adds) {
  constexpr int64_t kWidth = int64_t{kTileVectors} * kLanes<T>;
  int64_t j = 0;
  for (; j + kWidth <= columns; j += kWidth) {
    product_column<T, kTileVectors>(rows, inner, a, a_row, a_inner, b + j, b_row, c + j, c_row,
                                    adds);
  }
  for (; j < columns; j += kLanes<T>) {
    product_column<T, 1>(rows, inner, a, a_row, a_inner, b + j, b_row, c + j, c_row, adds);
  }
}
