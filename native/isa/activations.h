// Activation functions and their derivatives, as scalars that the compiler vectorises.
#pragma once
#include "math.h"

namespace md::MD_ISA {

constexpr double kSqrtHalf = 0.70710678118654752440;
constexpr double kInvSqrt2Pi = 0.39894228040143267794;
constexpr double kSqrt2OverPi = 0.79788456080286535588;

/// max(x, 0); NaN stays NaN.
template <class T>
inline T reluOf(T x) {
  return x > 0 || x != x ? x : T(0);
}
template <class T>
inline T reluGradOf(T x) {
  return x > 0 ? T(1) : T(0);
}

/// x Φ(x), Φ the normal distribution function (Hendrycks & Gimpel, 2016).
template <class T>
inline T geluOf(T x) {
  return T(0.5) * x * (T(1) + erfOf(x * T(kSqrtHalf)));
}
template <class T>
inline T geluGradOf(T x) {
  return T(0.5) * (T(1) + erfOf(x * T(kSqrtHalf))) + x * T(kInvSqrt2Pi) * expOf(T(-0.5) * x * x);
}

/// The tanh approximation of gelu.
template <class T>
inline T geluTanhOf(T x) {
  return T(0.5) * x * (T(1) + tanhOf(T(kSqrt2OverPi) * (x + T(0.044715) * x * x * x)));
}
template <class T>
inline T geluTanhGradOf(T x) {
  const T t = tanhOf(T(kSqrt2OverPi) * (x + T(0.044715) * x * x * x));
  return T(0.5) * (T(1) + t) + T(0.5) * x * (T(1) - t * t) * T(kSqrt2OverPi) * (T(1) + T(3 * 0.044715) * x * x);
}

/// x σ(x)
template <class T>
inline T siluOf(T x) {
  return x * sigmoidOf(x);
}
template <class T>
inline T siluGradOf(T x) {
  const T s = sigmoidOf(x);
  return s * (T(1) + x * (T(1) - s));
}

}  // namespace md::MD_ISA
