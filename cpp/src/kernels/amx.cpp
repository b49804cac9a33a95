// Compiled for AMX and AVX-512 (flags in CMakeLists.txt): nothing here may run elsewhere. So no
// template of the standard library is used: the linker could take this file's copy of it for all.
#include <immintrin.h>

#include "score_filter.h"

namespace notellm::kernels {
namespace {

constexpr int64_t kSide = 16;          // rows of a tile, and fp32 numbers of a row
constexpr int64_t kRowBytes = 64;      // of a row of a tile
constexpr int64_t kStep = kTileBlock;  // numbers of the width that one product of tiles takes
constexpr int64_t kTiles = 4;          // tiles of a block of scores: 2 x 2
static_assert(kTileBlock == 2 * kSide);

int64_t limited(int64_t value, int64_t most) { return value < 0 ? 0 : value < most ? value : most; }

// Splits the numbers [first, first + 16) of a row of d numbers; those beyond its end are 0.
void split_vector(const float* row, int64_t d, int64_t first, Bf16* high, Bf16* low) {
  const int64_t given = limited(d - first, kSide);
  const auto mask = static_cast<__mmask16>((1U << given) - 1);
  const __m512 value = _mm512_maskz_loadu_ps(mask, row + (given > 0 ? first : 0));
  const __m256i upper = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value));
  const __m512 widened = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(upper), 16));
  const __m256bh lower = _mm512_cvtneps_pbh(_mm512_sub_ps(value, widened));  // exact difference
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(high), upper);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(low), reinterpret_cast<__m256i>(lower));
}

// The tiles: 0 to 3 hold scores, 4 and 5 notes, 6 and 7 queries.
struct alignas(64) TileShapes {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// While it lives, this thread's tiles have our shapes. Other users of tiles (oneDNN) keep theirs.
class WithTiles {
 public:
  WithTiles() {
    _tile_storeconfig(&before_);
    TileShapes shapes;
    for (int tile = 0; tile < 8; ++tile) {
      shapes.row_bytes[tile] = kRowBytes;
      shapes.rows[tile] = kSide;
    }
    load(shapes);
  }
  ~WithTiles() {
    if (before_.palette == 0) {
      _tile_release();
    } else {
      load(before_);
    }
  }
  WithTiles(const WithTiles&) = delete;
  WithTiles& operator=(const WithTiles&) = delete;

 private:
  static void load(const TileShapes& shapes) {
    asm volatile("" : : "r"(&shapes) : "memory");  // GCC's intrinsic names 8 of its 64 bytes alone
    _tile_loadconfig(&shapes);
  }

  TileShapes before_;
};

// Adds the products of 32 notes (rows of `width` numbers) and 32 packed queries to the scores.
void add_products(const Bf16* notes, const Bf16* queries, int64_t width) {
  const int64_t note_bytes = width * static_cast<int64_t>(sizeof(Bf16));
  for (int64_t i = 0; i < width; i += kStep) {
    const Bf16* const pairs = queries + i * kSide;  // 16 pairs of numbers of 16 queries
    _tile_loadd(4, notes + i, note_bytes);
    _tile_loadd(6, pairs, kRowBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, pairs + width * kSide, kRowBytes);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, notes + kSide * width + i, note_bytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

// The scores of 32 notes and 32 queries as they were counted.
struct Block {
  alignas(64) float scores[kTiles][kSide][kSide];  // of the tiles: (note, query)
  __mmask16 open[kTiles][kSide];
  __m512i greater[2];  // of the queries of each half

  // Stores the tiles and compares them. True if a comparison is open.
  bool compare(const OpenScores& bounds, int64_t notes) {
    _tile_stored(0, scores[0], kRowBytes);
    _tile_stored(1, scores[1], kRowBytes);
    _tile_stored(2, scores[2], kRowBytes);
    _tile_stored(3, scores[3], kRowBytes);
    greater[0] = greater[1] = _mm512_setzero_si512();
    unsigned any = 0;
    for (int64_t tile = 0; tile < kTiles; ++tile) {
      const int64_t half = tile % 2;
      const __m512 low = _mm512_loadu_ps(bounds.low + half * kSide);
      const __m512 high = _mm512_loadu_ps(bounds.high + half * kSide);
      const int64_t rows = limited(notes - tile / 2 * kSide, kSide);
      for (int64_t row = 0; row < rows; ++row) {
        const __m512 score = _mm512_load_ps(scores[tile][row]);
        const __mmask16 above = _mm512_cmp_ps_mask(score, high, _CMP_GT_OQ);
        const __mmask16 below = _mm512_cmp_ps_mask(score, low, _CMP_LT_OQ);
        greater[half] =
            _mm512_mask_sub_epi32(greater[half], above, greater[half], _mm512_set1_epi32(-1));
        open[tile][row] = static_cast<__mmask16>(~(above | below));
        any |= open[tile][row];
      }
    }
    return any != 0;
  }

  void add_to(int32_t* counts) const {
    for (int64_t half = 0; half < 2; ++half) {
      auto* const here = counts + half * kSide;
      _mm512_storeu_si512(here, _mm512_add_epi32(_mm512_loadu_si512(here), greater[half]));
    }
  }

  void report_open(const ScoreFilter& filter, int64_t query, int64_t note, int64_t notes) const {
    for (int64_t tile = 0; tile < kTiles; ++tile) {
      const int64_t rows = limited(notes - tile / 2 * kSide, kSide);
      for (int64_t row = 0; row < rows; ++row) {
        for (unsigned rest = open[tile][row]; rest != 0; rest &= rest - 1) {
          const int64_t column = __builtin_ctz(rest);
          filter.open(filter.context, query + tile % 2 * kSide + column,
                      note + tile / 2 * kSide + row, scores[tile][row][column]);
        }
      }
    }
  }
};

}  // namespace

void split_notes(const float* rows, int64_t n, int64_t d, int64_t width, Bf16* high, Bf16* low) {
  for (int64_t row = 0; row < n; ++row) {
    for (int64_t i = 0; i < width; i += kSide) {
      split_vector(rows + row * d, d, i, high + row * width + i, low + row * width + i);
    }
  }
}

void split_queries(const float* rows, int64_t n, int64_t d, int64_t width, Bf16* high, Bf16* low) {
  for (int64_t i = 0; i < kTileBlock * width; ++i) high[i] = low[i] = Bf16{0};
  Bf16 upper[kSide], lower[kSide];
  for (int64_t row = 0; row < n; ++row) {
    const int64_t begin = row / kSide * kSide * width + row % kSide * 2;  // of its first pair
    for (int64_t i = 0; i < width; i += kSide) {
      split_vector(rows + row * d, d, i, upper, lower);
      for (int64_t k = 0; k < kSide; ++k) {
        const int64_t place = begin + (i + k) / 2 * kSide * 2 + k % 2;
        high[place] = upper[k];
        low[place] = lower[k];
      }
    }
  }
}

void filter_scores(const ScoreFilter& filter, const Bf16* high, const Bf16* low, int64_t notes) {
  const WithTiles tiles;
  const int64_t width = filter.width;
  Block block;
  for (int64_t query = 0; query < filter.queries; query += kTileBlock) {
    const Bf16* const query_high = filter.high + query * width;
    const Bf16* const query_low = filter.low + query * width;
    for (int64_t note = 0; note < notes; note += kTileBlock) {
      const int64_t rows = notes - note;
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
      add_products(high + note * width, query_high, width);
      const OpenScores coarse{filter.coarse.low + query, filter.coarse.high + query};
      if (block.compare(coarse, rows)) {
        add_products(low + note * width, query_high, width);
        add_products(high + note * width, query_low, width);
        const OpenScores fine{filter.fine.low + query, filter.fine.high + query};
        if (block.compare(fine, rows)) block.report_open(filter, query, note, rows);
      }
      block.add_to(filter.greater + query);
    }
  }
}

}  // namespace notellm::kernels
