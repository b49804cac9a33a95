// Vectors of the instruction set being compiled; included once per set, inside its namespace.
//
// GCC's vector types carry the arithmetic, so that one source serves every set. Nothing from the
// standard library is used here: an inline function compiled for AVX-512 could otherwise replace
// the same function elsewhere in the program.

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kTileRows = 6, kTileVectors = 4;  // 24 sums and 5 operands in 32 registers
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
constexpr int kTileRows = 4, kTileVectors = 3;  // 12 sums and 4 operands in 16 registers
#else
constexpr int kVectorBytes = 16;
constexpr int kTileRows = 4, kTileVectors = 2;
#endif

template <typename T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float Type __attribute__((vector_size(kVectorBytes)));
};
template <>
struct VectorOf<double> {
  typedef double Type __attribute__((vector_size(kVectorBytes)));
};
template <typename T>
using Vector = typename VectorOf<T>::Type;
typedef int32_t IntVector __attribute__((vector_size(kVectorBytes)));
typedef uint32_t BitVector __attribute__((vector_size(kVectorBytes)));
typedef uint16_t HalfVector __attribute__((vector_size(kVectorBytes / 2)));

template <typename T>
constexpr int kLanes = kVectorBytes / sizeof(T);

template <typename T>
inline Vector<T> splat(T value) {
  return value - Vector<T>{};  // broadcasts
}

template <typename To, typename From>
inline To bits_as(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof(to));
  return to;
}

// Vectors of the accumulator type, from and to memory of any scalar type.
template <typename T>
inline Vector<T> load(const T* from) {
  Vector<T> value;
  __builtin_memcpy(&value, from, sizeof(value));
  return value;
}
inline Vector<float> load(const Bf16* from) {
  HalfVector half;
  __builtin_memcpy(&half, from, sizeof(half));
  return bits_as<Vector<float>>(__builtin_convertvector(half, BitVector) << 16);
}
template <typename T>
inline void store(T* to, const Vector<T>& value) {
  __builtin_memcpy(to, &value, sizeof(value));
}
// Rounds to bf16 (nearest, ties to even) in the upper halves of the 32 bits; the lower halves have
// no meaning.
inline BitVector nearest_bf16_bits(const Vector<float>& numbers) {
  const auto bits = bits_as<BitVector>(numbers);
  return bits + 0x7fff + ((bits >> 16) & 1);
}
inline BitVector bf16_bits(const Vector<float>& value) {
  const BitVector is_number = bits_as<BitVector>(value == value);
  return is_number ? nearest_bf16_bits(value) : BitVector{} + 0x7fc00000;
}
#if defined(__AVX512BF16__)
inline void store(Bf16* to, const Vector<float>& value) {
  const __m256bh rounded = _mm512_cvtneps_pbh(bits_as<__m512>(value));
  __builtin_memcpy(to, &rounded, sizeof(rounded));
}
#else
inline void store(Bf16* to, const Vector<float>& value) {
  const HalfVector half = __builtin_convertvector(bf16_bits(value) >> 16, HalfVector);
  __builtin_memcpy(to, &half, sizeof(half));
}
#endif

// Stores two vectors, one behind the other.
template <typename Scalar>
inline void store(Scalar* to,
                  const Vector<Accumulator<Scalar>>& first,
                  const Vector<Accumulator<Scalar>>& second) {
  store(to, first);
  store(to + kLanes<Accumulator<Scalar>>, second);
}
#if defined(__AVX2__) && !defined(__AVX512F__)
// One instruction narrows both vectors, and one tests both for NaNs, which are rare.
inline void store(Bf16* to, const Vector<float>& first, const Vector<float>& second) {
  if (_mm256_movemask_ps(_mm256_cmp_ps(first, second, _CMP_UNORD_Q))) {
    store(to, first);
    store(to + kLanes<float>, second);
    return;
  }
  const BitVector low = nearest_bf16_bits(first) >> 16, high = nearest_bf16_bits(second) >> 16;
  const __m256i halves = _mm256_packus_epi32(bits_as<__m256i>(low), bits_as<__m256i>(high));
  const __m256i in_order = _mm256_permute4x64_epi64(halves, 0b11'01'10'00);
  __builtin_memcpy(to, &in_order, sizeof(in_order));
}
#endif

// The numbers as they would be read back after a store.
template <typename Scalar>
inline Vector<Accumulator<Scalar>> rounded(const Vector<Accumulator<Scalar>>& value) {
  return value;
}
template <>
inline Vector<float> rounded<Bf16>(const Vector<float>& value) {
  return bits_as<Vector<float>>(bf16_bits(value) & 0xffff0000);
}

// The same for one number.
template <typename T>
inline T widen(T value) {
  return value;
}
inline float widen(Bf16 value) { return bits_as<float>(static_cast<uint32_t>(value.bits) << 16); }
template <typename T>
inline void narrow(T* to, T value) {
  *to = value;
}
inline void narrow(Bf16* to, float value) {
  const auto bits = bits_as<uint32_t>(value);
  to->bits = value != value ? uint16_t{0x7fc0}
                            : static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// One step of a small product: sums += left * right in every lane.
template <typename T>
inline void multiply_add(Vector<T>& sums, T left, const Vector<T>& right) {
  sums += left * right;
}

// Two neighbours of a product's inner dimension, the first in the lower half: 32 bits.
struct Pair {
  Bf16 first, second;
};
template <>
struct VectorOf<Pair> {
  using Type = BitVector;
};
#if defined(__AVX512BF16__)
inline BitVector load(const Pair* from) {
  BitVector value;
  __builtin_memcpy(&value, from, sizeof(value));
  return value;
}
inline void multiply_add(Vector<float>& sums, Pair left, const BitVector& right) {
  const BitVector lefts = bits_as<uint32_t>(left) - BitVector{};
  sums = bits_as<Vector<float>>(
      _mm512_dpbf16_ps(bits_as<__m512>(sums), bits_as<__m512bh>(lefts), bits_as<__m512bh>(right)));
}
#endif

// Reductions across a vector: its halves are combined until two numbers are left.
template <typename T, int kBytes>
struct Reduce {
  typedef T Whole __attribute__((vector_size(kBytes)));
  typedef T Half __attribute__((vector_size(kBytes / 2)));
  struct Halves {
    Half low, high;
  };
  static T sum(const Whole& v) {
    const auto halves = bits_as<Halves>(v);
    return Reduce<T, kBytes / 2>::sum(halves.low + halves.high);
  }
  static T max(const Whole& v) {
    const auto halves = bits_as<Halves>(v);
    return Reduce<T, kBytes / 2>::max(halves.low > halves.high ? halves.low : halves.high);
  }
};
template <typename T>
struct Reduce<T, 2 * sizeof(T)> {
  typedef T Whole __attribute__((vector_size(2 * sizeof(T))));
  static T sum(const Whole& v) { return v[0] + v[1]; }
  static T max(const Whole& v) { return v[0] > v[1] ? v[0] : v[1]; }
};
template <typename T>
inline T sum_of(const Vector<T>& v) {
  return Reduce<T, kVectorBytes>::sum(v);
}
template <typename T>
inline T max_of(const Vector<T>& v) {
  return Reduce<T, kVectorBytes>::max(v);
}

// The first `count` lanes of one vector, the rest of another.
template <typename T>
inline Vector<T> first_lanes(int64_t count, const Vector<T>& first, const Vector<T>& rest) {
  Vector<T> lane;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes<T>; ++i) lane[i] = T(i);
  return lane < T(count) ? first : rest;
}

// e^x: range reduction to [-ln 2 / 2, ln 2 / 2] and a polynomial (relative error below 2e-7);
// below -87.3, where floats end, e^-87.3.
inline Vector<float> exp(Vector<float> x) {
  x = x < -87.3f ? splat(-87.3f) : x;
  x = x > 88.3f ? splat(88.3f) : x;
  const float round = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer
  const Vector<float> shifted = x * 1.44269504f + round;
  const Vector<float> n = shifted - round;
  const Vector<float> r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  Vector<float> p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const IntVector exponent = bits_as<IntVector>(shifted) << 23;  // n, as its low bits
  return bits_as<Vector<float>>(bits_as<IntVector>(p) + exponent);
}
inline Vector<double> exp(Vector<double> x) {
  for (int i = 0; i < kLanes<double>; ++i) x[i] = __builtin_exp(x[i]);
  return x;
}
inline float log(float x) { return __builtin_logf(x); }
inline double log(double x) { return __builtin_log(x); }
