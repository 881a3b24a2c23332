#include <cmath>
#include <limits>

#include "../../isa/activations.h"
#include "../../isa/math.h"
#include "../../isa/stream.h"
#include "../../isa/vectors.h"
#include "op.h"

namespace md::elementwise::MD_ISA {
namespace {

using md::MD_ISA::expOf;
using md::MD_ISA::streamElements;
using md::MD_ISA::streamPieces;
using md::MD_ISA::streamVectors;
using md::MD_ISA::tanhOf;

constexpr double kTwoOverSqrtPi = 1.12837916709551257390;

template <class T>
__attribute__((always_inline)) inline T softplusOf(T x) {
  return (x > 0 ? x : T(0)) + std::log1p(expOf(x > 0 ? -x : x));
}
template <class T>
__attribute__((always_inline)) inline T clampOf(T x, T low, T high) {
  return x < low ? low : (x > high ? high : x);
}

/// out[i] = f(i), past the caches where that helps.
template <class T, class F>
__attribute__((always_inline)) inline void each(T* __restrict out, int64_t n, F f) {
  if constexpr (std::is_floating_point_v<T>) {
    streamElements(out, n, f);
  } else {
    streamPieces(out, 0, n, 1, [&](int64_t first, int64_t last, T* __restrict to) __attribute__((always_inline)) {
      for (int64_t i = first; i < last; i++) to[i - first] = f(i);
    });
  }
}

// Loops of their own: inside the switch over all functions the compiler would stop inlining, and so vectorising.
template <class T, class F>
__attribute__((noinline)) void map(const void* x, void* y, int64_t n, F f) {
  const T* const __restrict in = static_cast<const T*>(x);
  each(static_cast<T*>(y), n, [&](int64_t i) __attribute__((always_inline)) { return f(in[i]); });
}

// The same with whole vectors, for functions that have a form of their own there.
template <class T, class F>
__attribute__((noinline)) void mapVectors(const void* x, void* y, int64_t n, F f) {
  const T* const in = static_cast<const T*>(x);
  streamVectors(static_cast<T*>(y), n, [&](auto at) __attribute__((always_inline)) { return f(at(in)); });
}

template <class T>
void integerUnary(Unary kind, const void* x, void* y, int64_t n, double a, double b) {
  const T low = a <= static_cast<double>(std::numeric_limits<T>::lowest()) ? std::numeric_limits<T>::lowest() : static_cast<T>(a);
  const T high = b >= static_cast<double>(std::numeric_limits<T>::max()) ? std::numeric_limits<T>::max() : static_cast<T>(b);
  switch (kind) {
    case Unary::neg: return map<T>(x, y, n, [](T v) { return static_cast<T>(-v); });
    case Unary::abs: return map<T>(x, y, n, [](T v) { return static_cast<T>(v < 0 ? -v : v); });
    case Unary::sign: return map<T>(x, y, n, [](T v) { return static_cast<T>((v > 0) - (v < 0)); });
    case Unary::square: return map<T>(x, y, n, [](T v) { return static_cast<T>(v * v); });
    case Unary::relu: return map<T>(x, y, n, [](T v) { return v > 0 ? v : T(0); });
    case Unary::clamp: return map<T>(x, y, n, [=](T v) { return clampOf(v, low, high); });
    case Unary::addScalar: return map<T>(x, y, n, [=](T v) { return static_cast<T>(v + static_cast<T>(a)); });
    case Unary::mulScalar: return map<T>(x, y, n, [=](T v) { return static_cast<T>(v * static_cast<T>(a)); });
    default: return;
  }
}

template <class T>
void floatUnary(Unary kind, const void* x, void* y, int64_t n, T a, T b) {
  switch (kind) {
    case Unary::neg: return map<T>(x, y, n, [](T v) { return -v; });
    case Unary::abs: return map<T>(x, y, n, [](T v) { return std::abs(v); });
    case Unary::exp: return mapVectors<T>(x, y, n, [](auto v) __attribute__((always_inline)) { return expOf(v); });
    case Unary::log: return map<T>(x, y, n, [](T v) { return std::log(v); });
    case Unary::sqrt: return map<T>(x, y, n, [](T v) { return std::sqrt(v); });
    case Unary::rsqrt: return map<T>(x, y, n, [](T v) { return T(1) / std::sqrt(v); });
    case Unary::sin: return map<T>(x, y, n, [](T v) { return std::sin(v); });
    case Unary::cos: return map<T>(x, y, n, [](T v) { return std::cos(v); });
    case Unary::tanh: return map<T>(x, y, n, [](T v) { return tanhOf(v); });
    case Unary::sigmoid: return mapVectors<T>(x, y, n, [](auto v) __attribute__((always_inline)) { return sigmoidOf(v); });
    case Unary::silu: return mapVectors<T>(x, y, n, [](auto v) __attribute__((always_inline)) { return siluOf(v); });
    case Unary::relu: return map<T>(x, y, n, [](T v) { return v > 0 || v != v ? v : T(0); });
    case Unary::gelu: return mapVectors<T>(x, y, n, [](auto v) __attribute__((always_inline)) { return geluOf(v); });
    case Unary::geluTanh: return mapVectors<T>(x, y, n, [](auto v) __attribute__((always_inline)) { return geluTanhOf(v); });
    case Unary::erf: return mapVectors<T>(x, y, n, [](auto v) __attribute__((always_inline)) { return erfOf(v); });
    case Unary::softplus: return map<T>(x, y, n, [](T v) { return softplusOf(v); });
    case Unary::square: return map<T>(x, y, n, [](T v) { return v * v; });
    case Unary::reciprocal: return map<T>(x, y, n, [](T v) { return T(1) / v; });
    case Unary::sign: return map<T>(x, y, n, [](T v) { return v > 0 ? T(1) : (v < 0 ? T(-1) : v); });
    case Unary::floor: return map<T>(x, y, n, [](T v) { return std::floor(v); });
    case Unary::ceil: return map<T>(x, y, n, [](T v) { return std::ceil(v); });
    case Unary::round: return map<T>(x, y, n, [](T v) { return std::nearbyint(v); });
    case Unary::trunc: return map<T>(x, y, n, [](T v) { return std::trunc(v); });
    case Unary::leakyRelu: return map<T>(x, y, n, [a](T v) { return v > 0 ? v : a * v; });
    case Unary::clamp: return map<T>(x, y, n, [a, b](T v) { return clampOf(v, a, b); });
    case Unary::powScalar: return map<T>(x, y, n, [a](T v) { return std::pow(v, a); });
    case Unary::addScalar: return map<T>(x, y, n, [a](T v) { return v + a; });
    case Unary::mulScalar: return map<T>(x, y, n, [a](T v) { return v * a; });
    case Unary::isFinite: {
      const T* in = static_cast<const T*>(x);
      uint8_t* out = static_cast<uint8_t*>(y);
      for (int64_t i = 0; i < n; i++) out[i] = std::abs(in[i]) <= std::numeric_limits<T>::max();
      return;
    }
    default: return;
  }
}

template <class T, class F>
__attribute__((noinline)) void mapGrad(const void* x, const void* grad, void* out, int64_t n, F f) {
  const T* const __restrict in = static_cast<const T*>(x);
  const T* const __restrict g = static_cast<const T*>(grad);
  each(static_cast<T*>(out), n, [&](int64_t i) __attribute__((always_inline)) { return g[i] * f(in[i]); });
}

template <class T, class F>
__attribute__((noinline)) void mapGradVectors(const void* x, const void* grad, void* out, int64_t n, F f) {
  const T* const in = static_cast<const T*>(x);
  const T* const g = static_cast<const T*>(grad);
  streamVectors(static_cast<T*>(out), n, [&](auto at) __attribute__((always_inline)) { return at(g) * f(at(in)); });
}

template <class T>
void floatUnaryGrad(Unary kind, const void* x, const void* g, void* o, int64_t n, T a, T b) {
  switch (kind) {
    case Unary::abs: return mapGrad<T>(x, g, o, n, [](T v) { return v > 0 ? T(1) : (v < 0 ? T(-1) : T(0)); });
    case Unary::exp: return mapGradVectors<T>(x, g, o, n, [](auto v) __attribute__((always_inline)) { return expOf(v); });
    case Unary::log: return mapGrad<T>(x, g, o, n, [](T v) { return T(1) / v; });
    case Unary::sqrt: return mapGrad<T>(x, g, o, n, [](T v) { return T(0.5) / std::sqrt(v); });
    case Unary::rsqrt: return mapGrad<T>(x, g, o, n, [](T v) { return T(-0.5) / (v * std::sqrt(v)); });
    case Unary::sin: return mapGrad<T>(x, g, o, n, [](T v) { return std::cos(v); });
    case Unary::cos: return mapGrad<T>(x, g, o, n, [](T v) { return -std::sin(v); });
    case Unary::tanh: return mapGrad<T>(x, g, o, n, [](T v) { const T t = tanhOf(v); return T(1) - t * t; });
    case Unary::sigmoid:
      return mapGradVectors<T>(x, g, o, n, [](auto v) __attribute__((always_inline)) {
        const auto s = sigmoidOf(v);
        return s * (decltype(s)::set(1) - s);
      });
    case Unary::silu: return mapGradVectors<T>(x, g, o, n, [](auto v) __attribute__((always_inline)) { return siluGradOf(v); });
    case Unary::relu: return mapGrad<T>(x, g, o, n, [](T v) { return v > 0 ? T(1) : T(0); });
    case Unary::gelu: return mapGradVectors<T>(x, g, o, n, [](auto v) __attribute__((always_inline)) { return geluGradOf(v); });
    case Unary::geluTanh: return mapGradVectors<T>(x, g, o, n, [](auto v) __attribute__((always_inline)) { return geluTanhGradOf(v); });
    case Unary::erf: return mapGrad<T>(x, g, o, n, [](T v) { return T(kTwoOverSqrtPi) * expOf(-v * v); });
    case Unary::softplus: return mapGradVectors<T>(x, g, o, n, [](auto v) __attribute__((always_inline)) { return sigmoidOf(v); });
    case Unary::square: return mapGrad<T>(x, g, o, n, [](T v) { return T(2) * v; });
    case Unary::reciprocal: return mapGrad<T>(x, g, o, n, [](T v) { return T(-1) / (v * v); });
    case Unary::leakyRelu: return mapGrad<T>(x, g, o, n, [a](T v) { return v > 0 ? T(1) : a; });
    case Unary::clamp: return mapGrad<T>(x, g, o, n, [a, b](T v) { return v >= a && v <= b ? T(1) : T(0); });
    case Unary::powScalar: return mapGrad<T>(x, g, o, n, [a](T v) { return a == T(0) ? T(0) : a * std::pow(v, a - T(1)); });
    default: return;
  }
}

/// Elements [0, n) of an operand side by side: themselves, or `buffer` filled with them.
template <class A>
const A* sideBySide(const A* x, int64_t stride, int64_t n, A* buffer) {
  if (stride == 1) return x;
  for (int64_t i = 0; i < n; i++) buffer[i] = x[i * stride];
  return buffer;
}

// One row of the innermost axis. One loop for all strides: every further one would be compiled for each function and dtype.
template <class A, class R, class F>
void row(const A* a, int64_t sa, const A* b, int64_t sb, R* __restrict out, int64_t n, F f) {
  constexpr int64_t kChunk = 256;
  A left[kChunk], right[kChunk];
  for (int64_t begin = 0; begin < n;) {
    const int64_t count = (sa == 1 && sb == 1) || n - begin < kChunk ? n - begin : kChunk;
    // A repeated operand is spread once.
    const A* x = sa == 0 && begin > 0 ? left : sideBySide(a + begin * sa, sa, count, left);
    const A* y = sb == 0 && begin > 0 ? right : sideBySide(b + begin * sb, sb, count, right);
    for (int64_t i = 0; i < count; i++) out[begin + i] = f(x[i], y[i]);
    begin += count;
  }
}

/// Walks the outer axes of a loop: the element offset of each operand at the current row.
struct Rows {
  const Loop& loop;
  int operands;
  int64_t index[kMaxRank] = {};
  int64_t offset[4] = {};

  Rows(const Loop& l, int count, int64_t first) : loop(l), operands(count) {
    for (int axis = loop.rank - 2; axis >= 0; axis--) {
      index[axis] = first % loop.extent[axis];
      first /= loop.extent[axis];
      for (int k = 0; k < operands; k++) offset[k] += index[axis] * loop.stride[k][axis];
    }
  }
  void next() {
    for (int axis = loop.rank - 2; axis >= 0; axis--) {
      for (int k = 0; k < operands; k++) offset[k] += loop.stride[k][axis];
      if (++index[axis] < loop.extent[axis]) return;
      for (int k = 0; k < operands; k++) offset[k] -= loop.stride[k][axis] * loop.extent[axis];
      index[axis] = 0;
    }
  }
};

template <class A, class R, class F>
void binaryLoop(const Loop& loop, int64_t begin, int64_t end, const void* a, const void* b, void* out, F f) {
  const int last = loop.rank - 1;
  const A* const left = static_cast<const A*>(a);
  const A* const right = static_cast<const A*>(b);
  const int64_t sa = loop.stride[1][last], sb = loop.stride[2][last], width = loop.extent[last];
  if (loop.rank == 1 && sa == 1 && sb == 1) {
    return each(static_cast<R*>(out), width, [&](int64_t i) __attribute__((always_inline)) { return f(left[i], right[i]); });
  }
  if (loop.rank == 1) {
    return streamPieces(static_cast<R*>(out), 0, width, 1, [&](int64_t first, int64_t stop, R* to) {
      row(left + first * sa, sa, right + first * sb, sb, to, stop - first, f);
    });
  }
  Rows rows(loop, 3, begin);
  streamPieces(static_cast<R*>(out) + begin * width, begin, end, width, [&](int64_t first, int64_t stop, R* to) {
    for (int64_t r = first; r < stop; r++, rows.next(), to += width) row(left + rows.offset[1], sa, right + rows.offset[2], sb, to, width, f);
  });
}

template <class T>
void binaryTyped(Binary kind, const Loop& l, int64_t p, int64_t q, const void* a, const void* b, void* o) {
  switch (kind) {
    case Binary::add: return binaryLoop<T, T>(l, p, q, a, b, o, [](T x, T y) { return static_cast<T>(x + y); });
    case Binary::sub: return binaryLoop<T, T>(l, p, q, a, b, o, [](T x, T y) { return static_cast<T>(x - y); });
    case Binary::mul: return binaryLoop<T, T>(l, p, q, a, b, o, [](T x, T y) { return static_cast<T>(x * y); });
    case Binary::div:
      if constexpr (std::is_floating_point_v<T>) return binaryLoop<T, T>(l, p, q, a, b, o, [](T x, T y) { return x / y; });
      return;
    case Binary::pow:
      if constexpr (std::is_floating_point_v<T>) return binaryLoop<T, T>(l, p, q, a, b, o, [](T x, T y) { return std::pow(x, y); });
      return;
    case Binary::maximum: return binaryLoop<T, T>(l, p, q, a, b, o, [](T x, T y) { return x > y || x != x ? x : y; });
    case Binary::minimum: return binaryLoop<T, T>(l, p, q, a, b, o, [](T x, T y) { return x < y || x != x ? x : y; });
    case Binary::eq: return binaryLoop<T, uint8_t>(l, p, q, a, b, o, [](T x, T y) { return uint8_t(x == y); });
    case Binary::ne: return binaryLoop<T, uint8_t>(l, p, q, a, b, o, [](T x, T y) { return uint8_t(x != y); });
    case Binary::lt: return binaryLoop<T, uint8_t>(l, p, q, a, b, o, [](T x, T y) { return uint8_t(x < y); });
    case Binary::le: return binaryLoop<T, uint8_t>(l, p, q, a, b, o, [](T x, T y) { return uint8_t(x <= y); });
    case Binary::gt: return binaryLoop<T, uint8_t>(l, p, q, a, b, o, [](T x, T y) { return uint8_t(x > y); });
    case Binary::ge: return binaryLoop<T, uint8_t>(l, p, q, a, b, o, [](T x, T y) { return uint8_t(x >= y); });
    case Binary::logicalAnd: return binaryLoop<T, uint8_t>(l, p, q, a, b, o, [](T x, T y) { return uint8_t(x && y); });
    case Binary::logicalOr: return binaryLoop<T, uint8_t>(l, p, q, a, b, o, [](T x, T y) { return uint8_t(x || y); });
    case Binary::count: return;
  }
}

template <class From, class To>
bool castTyped(const void* x, void* y, int64_t n, bool toBool) {
  using Value = Computed<From>;
  const From* in = static_cast<const From*>(x);
  To* out = static_cast<To*>(y);
  if (toBool) {
    for (int64_t i = 0; i < n; i++) out[i] = static_cast<To>(static_cast<Value>(in[i]) != Value(0));
    return true;
  }
  if constexpr (std::is_floating_point_v<Value> && std::is_integral_v<To>) {
    // Converting a float outside the target's range is undefined: report it instead.
    const Value low = static_cast<Value>(std::numeric_limits<To>::lowest()) - Value(1);
    const Value high = static_cast<Value>(std::numeric_limits<To>::max());
    for (int64_t i = 0; i < n; i++) {
      const Value v = static_cast<Value>(in[i]);
      const bool fits = (v > low || v == static_cast<Value>(std::numeric_limits<To>::lowest())) && (sizeof(To) < sizeof(Value) ? v < high + Value(1) : v < high);
      if (!fits) return false;
      out[i] = static_cast<To>(v);
    }
  } else {
    for (int64_t i = 0; i < n; i++) out[i] = static_cast<To>(static_cast<Value>(in[i]));
  }
  return true;
}

}  // namespace

void unaryRange(Unary kind, DType dtype, const void* x, void* y, int64_t n, double a, double b) {
  if (kind == Unary::logicalNot) return map<uint8_t>(x, y, n, [](uint8_t v) { return uint8_t(v == 0); });
  switch (dtype) {
    case DType::f32: return floatUnary<float>(kind, x, y, n, static_cast<float>(a), static_cast<float>(b));
    case DType::f64: return floatUnary<double>(kind, x, y, n, a, b);
    case DType::i32: return integerUnary<int32_t>(kind, x, y, n, a, b);
    case DType::i64: return integerUnary<int64_t>(kind, x, y, n, a, b);
    default: return integerUnary<uint8_t>(kind, x, y, n, a, b);
  }
}

void unaryGradRange(Unary kind, DType dtype, const void* x, const void* grad, void* out, int64_t n, double a, double b) {
  if (dtype == DType::f32) return floatUnaryGrad<float>(kind, x, grad, out, n, static_cast<float>(a), static_cast<float>(b));
  floatUnaryGrad<double>(kind, x, grad, out, n, a, b);
}

void binaryRows(Binary kind, DType dtype, const Loop& loop, int64_t begin, int64_t end, const void* a, const void* b, void* out) {
  dispatchAny(dtype, [&](auto tag) { binaryTyped<typename decltype(tag)::type>(kind, loop, begin, end, a, b, out); });
}

void whereRows(DType dtype, const Loop& loop, int64_t begin, int64_t end, const void* condition, const void* a, const void* b, void* out) {
  const int last = loop.rank - 1;
  dispatchAny(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Rows rows(loop, 4, begin);
    for (int64_t r = begin; r < end; r++, rows.next()) {
      const uint8_t* c = static_cast<const uint8_t*>(condition) + rows.offset[1];
      const T* x = static_cast<const T*>(a) + rows.offset[2];
      const T* y = static_cast<const T*>(b) + rows.offset[3];
      T* o = static_cast<T*>(out) + rows.offset[0];
      const int64_t sc = loop.stride[1][last], sx = loop.stride[2][last], sy = loop.stride[3][last];
      for (int64_t i = 0; i < loop.extent[last]; i++) o[i] = c[i * sc] ? x[i * sx] : y[i * sy];
    }
  });
}

bool castRange(DType from, DType to, const void* x, void* y, int64_t n) {
  return dispatchStored(from, [&](auto source) {
    return dispatchStored(to, [&](auto target) {
      return castTyped<typename decltype(source)::type, typename decltype(target)::type>(x, y, n, to == DType::boolean);
    });
  });
}

void fillRange(DType dtype, void* y, int64_t n, double value) {
  dispatchStored(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* out = static_cast<T*>(y);
    for (int64_t i = 0; i < n; i++) out[i] = static_cast<T>(value);
  });
}

}  // namespace md::elementwise::MD_ISA
