// Loops over scores that a matrix product has written; included once per instruction set, inside
// its namespace.

// Adds how many of n scores are above `high` and how many are below `low`; NaN is neither.
template <typename T>
inline void count_scores(
    const T* scores, int64_t n, T low, T high, int64_t* greater, int64_t* smaller) {
  constexpr int kStep = kLanes<T>;
  using Counts = decltype(Vector<T>{} > Vector<T>{});  // lanes of as many bits, -1 where it holds
  Counts above{}, below{};
  int64_t i = 0;
  for (; i + kStep <= n; i += kStep) {
    const Vector<T> some = load(scores + i);
    above -= some > splat(high);
    below -= some < splat(low);
  }
  for (int lane = 0; lane < kStep; ++lane) {
    *greater += above[lane];
    *smaller += below[lane];
  }
  for (; i < n; ++i) {
    *greater += scores[i] > high;
    *smaller += scores[i] < low;
  }
}

// The first of n scores that is not below `floor`, as NaN is not; n if all are.
template <typename T>
inline int64_t first_not_below(const T* scores, int64_t n, T floor) {
  constexpr int kStep = kLanes<T>;
  typedef int64_t Bits __attribute__((vector_size(kVectorBytes)));
  const Vector<T> floors = splat(floor);
  int64_t i = 0;
  for (; i + 4 * kStep <= n; i += 4 * kStep) {
    const T* const four = scores + i;
    const auto all_below =
        bits_as<Bits>((load(four) < floors) & (load(four + kStep) < floors) &
                      (load(four + 2 * kStep) < floors) & (load(four + 3 * kStep) < floors));
    int64_t every = -1;
    for (int lane = 0; lane < kLanes<int64_t>; ++lane) every &= all_below[lane];
    if (every != -1) break;
  }
  while (i < n && scores[i] < floor) ++i;
  return i;
}
