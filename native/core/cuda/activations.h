// Activation functions and their derivatives of one number, in f32 or f64.
#pragma once
#include <cmath>

#include "../host_device.h"

namespace md::cuda {

template <class T>
MD_HOST_DEVICE inline T sigmoidOf(T x) {
  const T e = std::exp(x < 0 ? x : -x);  // never overflows
  return (x < 0 ? e : T(1)) / (T(1) + e);
}

/// x Φ(x), Φ the normal distribution function (Hendrycks & Gimpel, 2016).
template <class T>
MD_HOST_DEVICE inline T geluOf(T x) {
  return T(0.5) * x * (T(1) + std::erf(x * T(0.70710678118654752440)));
}
template <class T>
MD_HOST_DEVICE inline T geluGradOf(T x) {
  const T density = std::exp(T(-0.5) * x * x) * T(0.39894228040143267794);
  return T(0.5) * (T(1) + std::erf(x * T(0.70710678118654752440))) + x * density;
}

/// The tanh approximation of gelu, as x σ(2u) with u = √(2/π) (x + 0.044715 x³).
template <class T>
MD_HOST_DEVICE inline T geluTanhOf(T x) {
  return x * sigmoidOf(x * (T(0.07135481627260024878) * x * x + T(1.59576912160573071176)));
}
template <class T>
MD_HOST_DEVICE inline T geluTanhGradOf(T x) {
  x = x < T(-32) ? T(-32) : (x > T(32) ? T(32) : x);  // beyond them it is 0 or 1, and the square may be no number
  const T s = sigmoidOf(x * (T(0.07135481627260024878) * x * x + T(1.59576912160573071176)));
  const T slope = T(0.21406444881780074633) * x * x + T(1.59576912160573071176);
  return x * slope * s * (T(1) - s) + s;
}

template <class T>
MD_HOST_DEVICE inline T siluGradOf(T x) {
  const T s = sigmoidOf(x);
  return x * s * (T(1) - s) + s;
}

}  // namespace md::cuda
