#include <limits>

#include "../../isa/simd.h"
#include "op.h"

namespace md::reduce::MD_ISA {
namespace {

using md::MD_ISA::maxOrNan;
using md::MD_ISA::minOrNan;
using md::MD_ISA::Vec;

constexpr int kWide = 8;             // vectors in flight: hides the latency of the addition
constexpr int64_t kRowBlock = 32;   // vectors added into one lane before it goes to the accumulator

// What is done to elements (Vec<T>) and to accumulators (A).
template <class T>
struct Sum {
  using A = double;
  static Vec<T> start() { return Vec<T>::zero(); }
  static Vec<T> combine(Vec<T> a, Vec<T> b) { return a + b; }
  static A startScalar(DType) { return 0; }
  static A combineScalar(A a, A b) { return a + b; }
  static T finish(A a, double divisor) { return static_cast<T>(a / divisor); }
};
template <class T>
struct Max {
  using A = T;
  static Vec<T> start() { return Vec<T>::set(-std::numeric_limits<T>::infinity()); }
  static Vec<T> combine(Vec<T> a, Vec<T> b) { return maxOrNan(a, b); }
  static A startScalar(DType) { return std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::lowest(); }
  static A combineScalar(A a, A b) { return (a > b) | (a != a) ? a : b; }
  static T finish(A a, double) { return a; }
};
template <class T>
struct Min {
  using A = T;
  static Vec<T> start() { return Vec<T>::set(std::numeric_limits<T>::infinity()); }
  static Vec<T> combine(Vec<T> a, Vec<T> b) { return minOrNan(a, b); }
  static A startScalar(DType dtype) {
    if (dtype == DType::boolean) return T(1);
    return std::numeric_limits<T>::has_infinity ? std::numeric_limits<T>::infinity() : std::numeric_limits<T>::max();
  }
  static A combineScalar(A a, A b) { return (a < b) | (a != a) ? a : b; }
  static T finish(A a, double) { return a; }
};
template <class T>
struct IntegerSum {
  using A = int64_t;
  static A startScalar(DType) { return 0; }
  static A combineScalar(A a, A b) { return static_cast<A>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b)); }
  static int64_t finish(A a, double) { return a; }
};

// One run of n adjacent elements.
template <class T, class Op>
typename Op::A reduceRun(const T* x, int64_t n, DType dtype) {
  using A = typename Op::A;
  A total = Op::startScalar(dtype);
  int64_t i = 0;
  if constexpr (std::is_floating_point_v<T>) {
    constexpr int W = Vec<T>::width;
    T lanes[W];
    while (i + kWide * W <= n) {
      Vec<T> acc[kWide];
      for (int k = 0; k < kWide; k++) acc[k] = Op::start();
      const int64_t left = (n - i) / (kWide * W), steps = left < kRowBlock ? left : kRowBlock;
      for (int64_t step = 0; step < steps; step++, i += kWide * W) {
        for (int k = 0; k < kWide; k++) acc[k] = Op::combine(acc[k], Vec<T>::load(x + i + k * W));
      }
      for (int half = kWide / 2; half > 0; half /= 2)
        for (int k = 0; k < half; k++) acc[k] = Op::combine(acc[k], acc[k + half]);
      acc[0].store(lanes);
      for (int k = 0; k < W; k++) total = Op::combineScalar(total, static_cast<A>(lanes[k]));
    }
    if (i + W <= n) {
      Vec<T> acc = Op::start();
      for (; i + W <= n; i += W) acc = Op::combine(acc, Vec<T>::load(x + i));
      acc.store(lanes);
      for (int k = 0; k < W; k++) total = Op::combineScalar(total, static_cast<A>(lanes[k]));
    }
  }
  for (; i < n; i++) total = Op::combineScalar(total, static_cast<A>(x[i]));
  return total;
}

// `Vectors` vectors of columns over at most kRowBlock rows, into the accumulators.
template <class T, class Op, int Vectors>
void strip(const T* x, int64_t stride, int64_t rows, typename Op::A* acc) {
  constexpr int W = Vec<T>::width;
  Vec<T> v[Vectors];
  for (int k = 0; k < Vectors; k++) v[k] = Op::start();
  for (int64_t r = 0; r < rows; r++)
    for (int k = 0; k < Vectors; k++) v[k] = Op::combine(v[k], Vec<T>::load(x + r * stride + k * W));
  T lanes[Vectors * W];
  for (int k = 0; k < Vectors; k++) v[k].store(lanes + k * W);
  for (int j = 0; j < Vectors * W; j++) acc[j] = Op::combineScalar(acc[j], static_cast<typename Op::A>(lanes[j]));
}

// acc[j] takes x[r * stride + j] for all rows r; j < columns <= kTile.
template <class T, class Op>
void reduceColumns(const T* x, int64_t stride, int64_t rows, int64_t columns, typename Op::A* acc) {
  using A = typename Op::A;
  if constexpr (std::is_floating_point_v<T>) {
    constexpr int W = Vec<T>::width;
    for (int64_t from = 0; from < rows; from += kRowBlock) {
      const int64_t count = rows - from < kRowBlock ? rows - from : kRowBlock;
      const T* block = x + from * stride;
      int64_t j = 0;
      for (; j + kWide * W <= columns; j += kWide * W) strip<T, Op, kWide>(block + j, stride, count, acc + j);
      for (; j + 2 * W <= columns; j += 2 * W) strip<T, Op, 2>(block + j, stride, count, acc + j);
      for (; j + W <= columns; j += W) strip<T, Op, 1>(block + j, stride, count, acc + j);
      for (int64_t r = 0; r < count; r++)
        for (int64_t k = j; k < columns; k++) acc[k] = Op::combineScalar(acc[k], static_cast<A>(block[r * stride + k]));
    }
  } else {
    for (int64_t r = 0; r < rows; r++)
      for (int64_t j = 0; j < columns; j++) acc[j] = Op::combineScalar(acc[j], static_cast<A>(x[r * stride + j]));
  }
}

// A few columns: several rows side by side make columns enough to fill the vectors.
template <class T, class Op>
void reduceNarrow(const T* x, int64_t rows, int64_t columns, DType dtype, typename Op::A* acc) {
  constexpr int64_t kColumns = 64;
  const int64_t fold = kColumns / columns, folded = rows / fold;
  typename Op::A wide[kColumns];
  for (int64_t j = 0; j < fold * columns; j++) wide[j] = Op::startScalar(dtype);
  reduceColumns<T, Op>(x, fold * columns, folded, fold * columns, wide);
  for (int64_t k = 0; k < fold; k++)
    for (int64_t j = 0; j < columns; j++) acc[j] = Op::combineScalar(acc[j], wide[k * columns + j]);
  reduceColumns<T, Op>(x + folded * fold * columns, columns, rows - folded * fold, columns, acc);
}

// Whole rows of a few adjacent elements.
template <class T, class Op>
void shortRows(const Pass& pass, int64_t begin, int64_t end, const T* x, decltype(Op::finish({}, 1.0))* out) {
  using A = typename Op::A;
  const int64_t extent = pass.split.extent;
  for (int64_t row = begin; row < end; row++) {
    A total = Op::startScalar(pass.dtype);
    for (int64_t i = 0; i < extent; i++) total = Op::combineScalar(total, static_cast<A>(x[row * extent + i]));
    out[row] = Op::finish(total, pass.divisor);
  }
}

template <class T, class Op>
void units(const Pass& pass, int64_t begin, int64_t end, const void* input, void* output, void* partial) {
  using A = typename Op::A;
  using R = decltype(Op::finish(A{}, 1.0));
  const T* x = static_cast<const T*>(input);
  const int64_t extent = pass.split.extent, inner = pass.split.inner;
  if (inner == 1 && extent < 8) return shortRows<T, Op>(pass, begin, end, x, static_cast<R*>(output));
  A acc[kTile];
  for (int64_t unit = begin; unit < end; unit++) {
    const int64_t tile = unit % pass.tiles, chunk = unit / pass.tiles % pass.chunks, outer = unit / pass.tiles / pass.chunks;
    const int64_t firstRow = chunk * pass.chunkRows, firstColumn = tile * kTile;
    const int64_t rows = extent - firstRow < pass.chunkRows ? extent - firstRow : pass.chunkRows;
    const int64_t columns = inner - firstColumn < kTile ? inner - firstColumn : kTile;
    const T* from = x + (outer * extent + firstRow) * inner + firstColumn;
    if (inner == 1) {
      acc[0] = reduceRun<T, Op>(from, rows, pass.dtype);
    } else {
      for (int64_t j = 0; j < columns; j++) acc[j] = Op::startScalar(pass.dtype);
      if (inner <= 32 && rows >= 32) {
        reduceNarrow<T, Op>(from, rows, columns, pass.dtype, acc);
      } else {
        reduceColumns<T, Op>(from, inner, rows, columns, acc);
      }
    }
    if (pass.chunks == 1) {
      R* out = static_cast<R*>(output) + outer * inner + firstColumn;
      for (int64_t j = 0; j < columns; j++) out[j] = Op::finish(acc[j], pass.divisor);
    } else {
      A* out = static_cast<A*>(partial) + (outer * pass.chunks + chunk) * inner + firstColumn;
      for (int64_t j = 0; j < columns; j++) out[j] = acc[j];
    }
  }
}

template <class T, class Op>
void combine(const Pass& pass, int64_t outer, int64_t begin, int64_t end, const void* partial, void* output) {
  using A = typename Op::A;
  using R = decltype(Op::finish(A{}, 1.0));
  const A* in = static_cast<const A*>(partial) + outer * pass.chunks * pass.split.inner;
  R* out = static_cast<R*>(output) + outer * pass.split.inner;
  for (int64_t j = begin; j < end; j++) {
    A total = Op::startScalar(pass.dtype);
    for (int64_t chunk = 0; chunk < pass.chunks; chunk++) total = Op::combineScalar(total, in[chunk * pass.split.inner + j]);
    out[j] = Op::finish(total, pass.divisor);
  }
}

// Calls f(T, Op) for the pass's dtype and kind.
template <class F>
void dispatchPass(const Pass& pass, F&& f) {
  dispatchAny(pass.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    switch (pass.kind) {
      case Reduction::amax:
      case Reduction::any:
        return f(tag, std::type_identity<Max<T>>{});
      case Reduction::amin:
      case Reduction::all:
        return f(tag, std::type_identity<Min<T>>{});
      default:
        if constexpr (std::is_floating_point_v<T>) {
          return f(tag, std::type_identity<Sum<T>>{});
        } else {
          return f(tag, std::type_identity<IntegerSum<T>>{});
        }
    }
  });
}

// True where `value` takes the place of `best`: strictly better, or the first NaN.
template <bool Greater, class T>
bool better(T value, T best) {
  if (best != best) return false;
  return value != value || (Greater ? value > best : value < best);
}

template <bool Greater, class T>
void argTyped(const AxisSplit& s, int64_t begin, int64_t end, const T* x, int64_t* out) {
  for (int64_t o = begin; o < end; o++) {
    const T* from = x + o * s.extent * s.inner;
    for (int64_t j = 0; j < s.inner; j++) {
      int64_t at = 0;
      T best = from[j];
      for (int64_t i = 1; i < s.extent; i++) {
        const T value = from[i * s.inner + j];
        if (!better<Greater>(value, best)) continue;
        best = value;
        at = i;
      }
      out[o * s.inner + j] = at;
    }
  }
}

}  // namespace

void unitRange(const Pass& pass, int64_t begin, int64_t end, const void* x, void* out, void* partial) {
  dispatchPass(pass, [&](auto tag, auto op) {
    units<typename decltype(tag)::type, typename decltype(op)::type>(pass, begin, end, x, out, partial);
  });
}

void combineRange(const Pass& pass, int64_t outer, int64_t begin, int64_t end, const void* partial, void* out) {
  dispatchPass(pass, [&](auto tag, auto op) {
    combine<typename decltype(tag)::type, typename decltype(op)::type>(pass, outer, begin, end, partial, out);
  });
}

void argRange(Extreme kind, DType dtype, const AxisSplit& split, int64_t begin, int64_t end, const void* x, int64_t* out) {
  dispatchAny(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (kind == Extreme::argmax) {
      argTyped<true>(split, begin, end, static_cast<const T*>(x), out);
    } else {
      argTyped<false>(split, begin, end, static_cast<const T*>(x), out);
    }
  });
}

}  // namespace md::reduce::MD_ISA
