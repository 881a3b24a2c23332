#include "cuda.h"

#include <limits>
#include <type_traits>
#include <utility>

#include "../../core/cuda/activations.h"
#include "../../core/cuda/launch.h"

namespace md::elementwise {
namespace {

using namespace md::cuda;

constexpr bool isComparison(Binary kind) { return static_cast<int>(kind) >= static_cast<int>(Binary::eq); }

/// f(std::integral_constant<Kind, kind>{}): a kernel for every kind, so that no thread switches over them.
template <class Kind, class F>
void dispatchKind(Kind kind, F&& f) {
  const auto all = [&]<int... K>(std::integer_sequence<int, K...>) {
    ((static_cast<int>(kind) == K ? f(std::integral_constant<Kind, static_cast<Kind>(K)>{}) : void()), ...);
  };
  all(std::make_integer_sequence<int, static_cast<int>(Kind::count)>{});
}

template <Unary kind, class T>
constexpr bool hasUnary() {
  if (kind == Unary::logicalNot) return std::is_same_v<T, uint8_t>;
  if (std::is_floating_point_v<T>) return true;
  return kind == Unary::neg || kind == Unary::abs || kind == Unary::sign || kind == Unary::square || kind == Unary::relu ||
         kind == Unary::clamp || kind == Unary::addScalar || kind == Unary::mulScalar;
}
template <Unary kind>
constexpr bool givesBool() {
  return kind == Unary::isFinite || kind == Unary::logicalNot;
}

template <class T>
__device__ bool isNegative(T v) {
  if constexpr (std::is_unsigned_v<T>) return false;
  else return v < T(0);
}

template <Unary kind, class T>
__device__ auto unaryOf(T v, T a, T b) {
  if constexpr (kind == Unary::neg) return static_cast<T>(-v);
  else if constexpr (kind == Unary::abs) return static_cast<T>(isNegative(v) || v == T(0) ? T(0) - v : v);
  else if constexpr (kind == Unary::exp) return std::exp(v);
  else if constexpr (kind == Unary::log) return std::log(v);
  else if constexpr (kind == Unary::sqrt) return std::sqrt(v);
  else if constexpr (kind == Unary::rsqrt) return T(1) / std::sqrt(v);
  else if constexpr (kind == Unary::sin) return std::sin(v);
  else if constexpr (kind == Unary::cos) return std::cos(v);
  else if constexpr (kind == Unary::tanh) return std::tanh(v);
  else if constexpr (kind == Unary::sigmoid) return sigmoidOf(v);
  else if constexpr (kind == Unary::silu) return v * sigmoidOf(v);
  else if constexpr (kind == Unary::relu) return v > T(0) || v != v ? v : T(0);
  else if constexpr (kind == Unary::gelu) return geluOf(v);
  else if constexpr (kind == Unary::geluTanh) return geluTanhOf(v);
  else if constexpr (kind == Unary::erf) return std::erf(v);
  else if constexpr (kind == Unary::softplus) return (v > T(0) ? v : T(0)) + std::log1p(std::exp(v > T(0) ? -v : v));
  else if constexpr (kind == Unary::square) return static_cast<T>(v * v);
  else if constexpr (kind == Unary::reciprocal) return T(1) / v;
  else if constexpr (kind == Unary::sign) return v > T(0) ? T(1) : (isNegative(v) ? static_cast<T>(-1) : v);
  else if constexpr (kind == Unary::floor) return std::floor(v);
  else if constexpr (kind == Unary::ceil) return std::ceil(v);
  else if constexpr (kind == Unary::round) return std::nearbyint(v);
  else if constexpr (kind == Unary::trunc) return std::trunc(v);
  else if constexpr (kind == Unary::leakyRelu) return v > T(0) ? v : a * v;
  else if constexpr (kind == Unary::clamp) return v < a ? a : (v > b ? b : v);
  else if constexpr (kind == Unary::powScalar) return std::pow(v, a);
  else if constexpr (kind == Unary::addScalar) return static_cast<T>(v + a);
  else if constexpr (kind == Unary::mulScalar) return static_cast<T>(v * a);
  else if constexpr (kind == Unary::isFinite) return static_cast<uint8_t>(std::abs(v) <= std::numeric_limits<T>::max());
  else return static_cast<uint8_t>(v == T(0));
}

template <Unary kind>
constexpr bool hasGradient() {
  switch (kind) {
    case Unary::neg:
    case Unary::sign:
    case Unary::floor:
    case Unary::ceil:
    case Unary::round:
    case Unary::trunc:
    case Unary::addScalar:
    case Unary::mulScalar:
    case Unary::isFinite:
    case Unary::logicalNot:
    case Unary::count:
      return false;
    default:
      return true;
  }
}

template <Unary kind, class T>
__device__ T derivativeOf(T v, T a, T b) {
  if constexpr (kind == Unary::abs) return v > 0 ? T(1) : (v < 0 ? T(-1) : T(0));
  else if constexpr (kind == Unary::exp) return std::exp(v);
  else if constexpr (kind == Unary::log) return T(1) / v;
  else if constexpr (kind == Unary::sqrt) return T(0.5) / std::sqrt(v);
  else if constexpr (kind == Unary::rsqrt) return T(-0.5) / (v * std::sqrt(v));
  else if constexpr (kind == Unary::sin) return std::cos(v);
  else if constexpr (kind == Unary::cos) return -std::sin(v);
  else if constexpr (kind == Unary::tanh) return T(1) - std::tanh(v) * std::tanh(v);
  else if constexpr (kind == Unary::sigmoid) return sigmoidOf(v) * (T(1) - sigmoidOf(v));
  else if constexpr (kind == Unary::silu) return siluGradOf(v);
  else if constexpr (kind == Unary::relu) return v > 0 ? T(1) : T(0);
  else if constexpr (kind == Unary::gelu) return geluGradOf(v);
  else if constexpr (kind == Unary::geluTanh) return geluTanhGradOf(v);
  else if constexpr (kind == Unary::erf) return T(1.12837916709551257390) * std::exp(-v * v);
  else if constexpr (kind == Unary::softplus) return sigmoidOf(v);
  else if constexpr (kind == Unary::square) return T(2) * v;
  else if constexpr (kind == Unary::reciprocal) return T(-1) / (v * v);
  else if constexpr (kind == Unary::leakyRelu) return v > 0 ? T(1) : a;
  else if constexpr (kind == Unary::clamp) return v >= a && v <= b ? T(1) : T(0);
  else return a == T(0) ? T(0) : a * std::pow(v, a - T(1));  // powScalar
}

template <Binary kind, class T>
__device__ auto binaryOf(T x, T y) {
  if constexpr (kind == Binary::add) return static_cast<T>(x + y);
  else if constexpr (kind == Binary::sub) return static_cast<T>(x - y);
  else if constexpr (kind == Binary::mul) return static_cast<T>(x * y);
  else if constexpr (kind == Binary::div) return x / y;
  else if constexpr (kind == Binary::pow) return std::pow(x, y);
  else if constexpr (kind == Binary::maximum) return x > y || x != x ? x : y;
  else if constexpr (kind == Binary::minimum) return x < y || x != x ? x : y;
  else if constexpr (kind == Binary::eq) return static_cast<uint8_t>(x == y);
  else if constexpr (kind == Binary::ne) return static_cast<uint8_t>(x != y);
  else if constexpr (kind == Binary::lt) return static_cast<uint8_t>(x < y);
  else if constexpr (kind == Binary::le) return static_cast<uint8_t>(x <= y);
  else if constexpr (kind == Binary::gt) return static_cast<uint8_t>(x > y);
  else if constexpr (kind == Binary::ge) return static_cast<uint8_t>(x >= y);
  else if constexpr (kind == Binary::logicalAnd) return static_cast<uint8_t>(x && y);
  else return static_cast<uint8_t>(x || y);
}

template <Unary kind, class T, class R>
__global__ void unaryKernel(int64_t n, const T* __restrict__ x, R* __restrict__ out, T a, T b) {
  gridStride(n, [&](int64_t i) { out[i] = unaryOf<kind>(x[i], a, b); });
}

template <Unary kind, class T>
__global__ void unaryGradKernel(int64_t n, const T* __restrict__ x, const T* __restrict__ grad, T* __restrict__ out, T a, T b) {
  gridStride(n, [&](int64_t i) { out[i] = grad[i] * derivativeOf<kind>(x[i], a, b); });
}

/// Element offsets of the operands behind the output, which is contiguous.
template <int operands>
__device__ void offsetsOf(const Loop& loop, int64_t i, int64_t (&offset)[operands]) {
  for (int k = 0; k < operands; k++) offset[k] = 0;
  for (int axis = loop.rank - 1; axis >= 0; axis--) {
    const int64_t index = i % loop.extent[axis];
    i /= loop.extent[axis];
    for (int k = 0; k < operands; k++) offset[k] += index * loop.stride[k + 1][axis];
  }
}

template <Binary kind, class T, class R>
__global__ void binaryKernel(int64_t n, Loop loop, const T* __restrict__ a, const T* __restrict__ b, R* __restrict__ out) {
  gridStride(n, [&](int64_t i) {
    int64_t at[2];
    offsetsOf(loop, i, at);
    out[i] = binaryOf<kind>(a[at[0]], b[at[1]]);
  });
}

template <class T>
__global__ void whereKernel(int64_t n, Loop loop, const uint8_t* __restrict__ condition, const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ out) {
  gridStride(n, [&](int64_t i) {
    int64_t at[3];
    offsetsOf(loop, i, at);
    out[i] = condition[at[0]] ? a[at[1]] : b[at[2]];
  });
}

template <class From, class To>
__device__ bool fits(From v) {
  if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    const From lowest = static_cast<From>(std::numeric_limits<To>::lowest()), top = static_cast<From>(std::numeric_limits<To>::max());
    return (v > lowest - From(1) || v == lowest) && (sizeof(To) < sizeof(From) ? v < top + From(1) : v < top);
  } else {
    return true;
  }
}

template <class From, class To>
__global__ void castKernel(int64_t n, const From* __restrict__ x, To* __restrict__ out, bool toBool, Complaint* complaint, const char* op) {
  gridStride(n, [&](int64_t i) {
    using Value = Computed<From>;
    const Value v = static_cast<Value>(x[i]);
    if (toBool) {
      out[i] = static_cast<To>(v != Value(0));
    } else if (fits<Value, To>(v)) {
      out[i] = static_cast<To>(v);
    } else {
      out[i] = To(0);
      complain(complaint, op, Wrong::notAnInteger, i);
    }
  });
}

template <class T>
__global__ void fillKernel(int64_t n, T* out, T value) {
  gridStride(n, [&](int64_t i) { out[i] = value; });
}

template <class T>
T bounded(double value) {
  using Limits = std::numeric_limits<T>;
  if (std::is_floating_point_v<T>) return static_cast<T>(value);
  if (value <= static_cast<double>(Limits::lowest())) return Limits::lowest();
  return value >= static_cast<double>(Limits::max()) ? Limits::max() : static_cast<T>(value);
}

}  // namespace

void unaryCuda(Context& context, Unary kind, const Tensor& x, const Tensor& out, double a, double b, const char* op) {
  const int64_t n = x.numel();
  if (n == 0) return;
  dispatchAny(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    dispatchKind(kind, [&](auto constant) {
      constexpr Unary k = constant;
      if constexpr (hasUnary<k, T>()) {
        using R = std::conditional_t<givesBool<k>(), uint8_t, T>;
        launch(context, op, unaryKernel<k, T, R>, blocksFor(n), kThreads, n, x.data<T>(), out.data<R>(), bounded<T>(a), bounded<T>(b));
      }
    });
  });
}

void unaryGradCuda(Context& context, Unary kind, const Tensor& x, const Tensor& grad, const Tensor& out, double a, double b, const char* op) {
  const int64_t n = x.numel();
  if (n == 0) return;
  dispatchFloat(x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    dispatchKind(kind, [&](auto constant) {
      constexpr Unary k = constant;
      if constexpr (hasGradient<k>()) {
        launch(context, op, unaryGradKernel<k, T>, blocksFor(n), kThreads, n, x.data<T>(), grad.data<T>(), out.data<T>(), static_cast<T>(a), static_cast<T>(b));
      }
    });
  });
}

void binaryCuda(Context& context, Binary kind, const Loop& loop, const Tensor& a, const Tensor& b, const Tensor& out, const char* op) {
  const int64_t n = out.numel();
  if (n == 0) return;
  dispatchAny(a.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    dispatchKind(kind, [&](auto constant) {
      constexpr Binary k = constant;
      if constexpr (std::is_floating_point_v<T> || (k != Binary::div && k != Binary::pow)) {
        using R = std::conditional_t<isComparison(k), uint8_t, T>;
        launch(context, op, binaryKernel<k, T, R>, blocksFor(n), kThreads, n, loop, a.data<T>(), b.data<T>(), out.data<R>());
      }
    });
  });
}

void whereCuda(Context& context, const Loop& loop, const Tensor& condition, const Tensor& a, const Tensor& b, const Tensor& out, const char* op) {
  const int64_t n = out.numel();
  if (n == 0) return;
  dispatchAny(a.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, whereKernel<T>, blocksFor(n), kThreads, n, loop, condition.data<uint8_t>(), a.data<T>(), b.data<T>(), out.data<T>());
  });
}

void castCuda(Context& context, const Tensor& x, const Tensor& out, const char* op) {
  const int64_t n = x.numel();
  if (n == 0) return;
  dispatchStored(x.dtype, [&](auto source) {
    dispatchStored(out.dtype, [&](auto target) {
      using From = typename decltype(source)::type;
      using To = typename decltype(target)::type;
      launch(context, op, castKernel<From, To>, blocksFor(n), kThreads, n, x.data<From>(), out.data<To>(), out.dtype == DType::boolean,
             complaintOf(context), op);
    });
  });
}

void fillCuda(Context& context, const Tensor& out, double value, const char* op) {
  const int64_t n = out.numel();
  if (n == 0) return;
  dispatchStored(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, fillKernel<T>, blocksFor(n), kThreads, n, out.data<T>(), static_cast<T>(value));
  });
}

}  // namespace md::elementwise
