// Loops over rows: norms, SwiGLU, sums; included once per instruction set, inside its namespace.

template <typename Scalar>
inline void rms_norm(const Accumulator<Scalar>* x,
                     const Accumulator<Scalar>* weight,
                     double epsilon,
                     int64_t rows,
                     int64_t width,
                     Scalar* y,
                     Accumulator<Scalar>* inverse_rms) {
  using Acc = Accumulator<Scalar>;
  constexpr int kStep = kLanes<Acc>;
  for (int64_t r = 0; r < rows; ++r, x += width, y += width) {
    Vector<Acc> squares{};
    int64_t i = 0;
    for (; i + kStep <= width; i += kStep) squares += load(x + i) * load(x + i);
    Acc sum = sum_of<Acc>(squares);
    for (; i < width; ++i) sum += x[i] * x[i];
    const Acc inverse = Acc(1) / Acc(__builtin_sqrt(double(sum) / double(width) + epsilon));
    inverse_rms[r] = inverse;
    for (i = 0; i + kStep <= width; i += kStep) {
      store(y + i, load(x + i) * inverse * load(weight + i));
    }
    for (; i < width; ++i) narrow(y + i, x[i] * inverse * weight[i]);
  }
}

// With n = x / rms(x) and g = y_gradient * weight:
//   x_gradient = (g - n mean(g n)) / rms(x),   weight_gradient += y_gradient * n.
template <typename Scalar>
inline void rms_norm_backward(const Scalar* y_gradient,
                              const Accumulator<Scalar>* x,
                              const Accumulator<Scalar>* weight,
                              const Accumulator<Scalar>* inverse_rms,
                              int64_t rows,
                              int64_t width,
                              Accumulator<Scalar>* x_gradient,
                              Accumulator<Scalar>* weight_gradient) {
  using Acc = Accumulator<Scalar>;
  constexpr int kStep = kLanes<Acc>;
  for (int64_t r = 0; r < rows; ++r, x += width, y_gradient += width, x_gradient += width) {
    const Acc inverse = inverse_rms[r];
    Vector<Acc> dots{};
    int64_t i = 0;
    for (; i + kStep <= width; i += kStep) {
      dots += load(y_gradient + i) * load(weight + i) * load(x + i);
    }
    Acc dot = sum_of<Acc>(dots);
    for (; i < width; ++i) dot += widen(y_gradient[i]) * weight[i] * x[i];
    const Acc pull = dot * inverse * inverse / Acc(width);
    for (i = 0; i + kStep <= width; i += kStep) {
      const Vector<Acc> value = load(x + i), gradient = load(y_gradient + i);
      store(x_gradient + i, (gradient * load(weight + i) - value * pull) * inverse);
      if (weight_gradient) {
        store(weight_gradient + i, load(weight_gradient + i) + gradient * value * inverse);
      }
    }
    for (; i < width; ++i) {
      const Acc gradient = widen(y_gradient[i]);
      x_gradient[i] = (gradient * weight[i] - x[i] * pull) * inverse;
      if (weight_gradient) weight_gradient[i] += gradient * x[i] * inverse;
    }
  }
}

template <typename Acc>
inline Vector<Acc> sigmoid(const Vector<Acc>& x) {
  return Acc(1) / (Acc(1) + exp(-x));
}

// One vector's worth of numbers at the end of a row, padded with zeros.
template <typename Scalar>
inline Vector<Accumulator<Scalar>> load_part(const Scalar* from, int64_t count) {
  Vector<Accumulator<Scalar>> value{};
  for (int64_t i = 0; i < count; ++i) value[i] = widen(from[i]);
  return value;
}
template <typename Scalar>
inline void store_part(Scalar* to, const Vector<Accumulator<Scalar>>& value, int64_t count) {
  for (int64_t i = 0; i < count; ++i) narrow(to + i, value[i]);
}

template <typename Scalar>
inline void swiglu(const Scalar* gate_up, int64_t rows, int64_t width, Scalar* out) {
  using Acc = Accumulator<Scalar>;
  constexpr int kStep = kLanes<Acc>;
  for (int64_t r = 0; r < rows; ++r, gate_up += 2 * width, out += width) {
    const Scalar* up = gate_up + width;
    int64_t i = 0;
    for (; i + kStep <= width; i += kStep) {
      const Vector<Acc> gate = load(gate_up + i);
      store(out + i, gate * sigmoid<Acc>(gate) * load(up + i));
    }
    if (i == width) continue;
    const Vector<Acc> gate = load_part(gate_up + i, width - i);
    store_part(out + i, gate * sigmoid<Acc>(gate) * load_part(up + i, width - i), width - i);
  }
}

// d silu(g) / dg = s + g s (1 - s) with s = sigmoid(g).
template <typename Acc>
struct SwigluGradient {
  Vector<Acc> gate, up;
};
template <typename Acc>
inline SwigluGradient<Acc> swiglu_gradient(const Vector<Acc>& gradient,
                                           const Vector<Acc>& gate,
                                           const Vector<Acc>& up) {
  const Vector<Acc> s = sigmoid<Acc>(gate), silu = gate * s;
  return {gradient * up * (s + silu * (Acc(1) - s)), gradient * silu};
}

template <typename Scalar>
inline void swiglu_backward(const Scalar* out_gradient,
                            const Scalar* gate_up,
                            int64_t rows,
                            int64_t width,
                            Scalar* gate_up_gradient) {
  using Acc = Accumulator<Scalar>;
  constexpr int kStep = kLanes<Acc>;
  for (int64_t r = 0; r < rows; ++r) {
    int64_t i = 0;
    for (; i + kStep <= width; i += kStep) {
      const auto g = swiglu_gradient<Acc>(load(out_gradient + i), load(gate_up + i),
                                          load(gate_up + width + i));
      store(gate_up_gradient + i, g.gate);
      store(gate_up_gradient + width + i, g.up);
    }
    if (i < width) {
      const auto g = swiglu_gradient<Acc>(load_part(out_gradient + i, width - i),
                                          load_part(gate_up + i, width - i),
                                          load_part(gate_up + width + i, width - i));
      store_part(gate_up_gradient + i, g.gate, width - i);
      store_part(gate_up_gradient + width + i, g.up, width - i);
    }
    out_gradient += width, gate_up += 2 * width, gate_up_gradient += 2 * width;
  }
}

template <typename Scalar>
inline void add(const Accumulator<Scalar>* residual,
                const Scalar* branch,
                int64_t n,
                Accumulator<Scalar>* sum) {
  using Acc = Accumulator<Scalar>;
  constexpr int kStep = kLanes<Acc>;
  int64_t i = 0;
  for (; i + kStep <= n; i += kStep) store(sum + i, load(residual + i) + load(branch + i));
  for (; i < n; ++i) sum[i] = residual[i] + widen(branch[i]);
}

template <typename Scalar>
inline void convert(const Accumulator<Scalar>* x, int64_t n, Scalar* out) {
  constexpr int kStep = kLanes<Accumulator<Scalar>>;
  int64_t i = 0;
  for (; i + 2 * kStep <= n; i += 2 * kStep) store(out + i, load(x + i), load(x + i + kStep));
  for (; i + kStep <= n; i += kStep) store(out + i, load(x + i));
  for (; i < n; ++i) narrow(out + i, x[i]);
}

template <typename Scalar>
inline void convert_back(const Scalar* x, int64_t n, Accumulator<Scalar>* out) {
  constexpr int kStep = kLanes<Accumulator<Scalar>>;
  int64_t i = 0;
  for (; i + kStep <= n; i += kStep) store(out + i, load(x + i));
  for (; i < n; ++i) out[i] = widen(x[i]);
}

template <typename Scalar>
inline void round(const Accumulator<Scalar>* x, int64_t n, Accumulator<Scalar>* out) {
  constexpr int kStep = kLanes<Accumulator<Scalar>>;
  int64_t i = 0;
  for (; i + kStep <= n; i += kStep) store(out + i, rounded<Scalar>(load(x + i)));
  if (i < n) store_part(out + i, rounded<Scalar>(load_part(x + i, n - i)), n - i);
}

template <typename Scalar>
inline void dequantise(
    const int8_t* values, const float* scales, int64_t rows, int64_t width, Scalar* out) {
  using Acc = Accumulator<Scalar>;
  constexpr int kStep = kLanes<Acc>;
  typedef int8_t Bytes __attribute__((vector_size(kStep)));
  for (int64_t r = 0; r < rows; ++r, values += width, out += width) {
    const Acc scale = scales[r];
    int64_t i = 0;
    for (; i + kStep <= width; i += kStep) {
      Bytes bytes;
      __builtin_memcpy(&bytes, values + i, sizeof(bytes));
      store(out + i, __builtin_convertvector(bytes, Vector<Acc>) * scale);
    }
    for (; i < width; ++i) narrow(out + i, Acc(values[i]) * scale);
  }
}
