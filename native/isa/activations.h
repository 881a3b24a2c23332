// Activation functions and their derivatives on a whole vector or several, for kernels that hold their values in registers.
#pragma once
#include "math.h"
#include "several.h"

namespace md::MD_ISA {

/// erf; within 1.2e-7: an odd polynomial below 0.9, 1 - 2^p(|x|) above, both minimax fits.
template <template <class> class Lanes>
__attribute__((always_inline)) inline Lanes<float> erfOf(Lanes<float> x) {
  using V = Lanes<float>;
  const V a = min(V::set(4.0f), abs(x));  // erf(4) rounds to 1
  V r = V::set(2.84473068e-4f);
  r = fma(r, a, V::set(-4.40830956e-3f));
  r = fma(r, a, V::set(3.21390418e-2f));
  r = fma(r, a, V::set(-1.5009418e-1f));
  r = fma(r, a, V::set(-9.19082951e-1f));
  r = fma(r, a, V::set(-1.6269987f));
  r = fma(r, a, V::set(-2.56071204e-4f));
  const V large = withSign(V::set(1.0f) - exp2NonPositive(r), x);
  const V s = a * a;
  V p = V::set(-6.090408555e-4f);
  p = fma(p, s, V::set(5.011973719e-3f));
  p = fma(p, s, V::set(-2.677891783e-2f));
  p = fma(p, s, V::set(1.128214113e-1f));
  p = fma(p, s, V::set(-3.761252332e-1f));
  p = fma(p, s, V::set(1.28379154e-1f));
  return selectLess(a, V::set(0.9f), fma(x, p, x), large);
}
inline Vec<double> erfOf(Vec<double> x) {
  double lanes[Vec<double>::width];
  x.store(lanes);
  for (double& lane : lanes) lane = std::erf(lane);
  return Vec<double>::load(lanes);
}
inline Several<double> erfOf(Several<double> x) {
  return Several<double>::of([&](int i) { return erfOf(x.v[i]); });
}

/// 1 / (1 + e^-x), from e^-|x| so that nothing overflows.
template <template <class> class Lanes, class T>
__attribute__((always_inline)) inline Lanes<T> sigmoidOf(Lanes<T> x) {
  using V = Lanes<T>;
  const V e = exp2NonPositive(abs(x) * V::set(T(-1.44269504088896340736)));
  return selectLess(x, V::zero(), e, V::set(1)) / (V::set(1) + e);
}

template <class T>
inline Vec<T> reluOf(Vec<T> x) {
  return maxOrNan(x, Vec<T>::zero());
}
template <class T>
inline Vec<T> reluGradOf(Vec<T> x) {
  return selectLess(Vec<T>::zero(), x, Vec<T>::set(1), Vec<T>::zero());
}

/// Q(a) = 1 - Φ(a) for 0 <= a <= 16, Φ the normal distribution function; f32: 2^p(a) with p fitted so that no Φ is off by
/// more than 7e-8.
template <template <class> class Lanes>
__attribute__((always_inline)) inline Lanes<float> normalTail(Lanes<float> a) {
  using V = Lanes<float>;
  V p = V::set(-1.639596234781493e-06f);
  p = fma(p, a, V::set(2.5286517484346405e-05f));
  p = fma(p, a, V::set(-0.00012076763960067183f));
  p = fma(p, a, V::set(-0.0002899151586461812f));
  p = fma(p, a, V::set(0.007254831958562136f));
  p = fma(p, a, V::set(-0.05262161046266556f));
  p = fma(p, a, V::set(-0.4591692388057709f));
  p = fma(p, a, V::set(-1.1511096954345703f));
  return exp2NonPositive(fma(p, a, V::set(-0.9999998807907104f)));
}

/// x Φ(x) (Hendrycks & Gimpel, 2016), f32 as max(x, 0) - |x| Q(|x|); a NaN comes by way of Q.
template <template <class> class Lanes>
__attribute__((always_inline)) inline Lanes<float> geluOf(Lanes<float> x) {
  using V = Lanes<float>;
  const V a = min(V::set(16.0f), abs(x));
  return max(x, V::zero()) - a * normalTail(a);
}
/// Φ(x) + x φ(x), which is t(|x|) for x < 0 and 1 - t(x) else, with t(a) = Q(a) - a φ(a) = Q(a) (1 - a h(a)); φ the density,
/// h = φ / Q a polynomial fitted so that a Q(a) h(a) is within 6e-8.
template <template <class> class Lanes>
__attribute__((always_inline)) inline Lanes<float> geluGradOf(Lanes<float> x) {
  using V = Lanes<float>;
  const V a = min(V::set(16.0f), abs(x));
  V h = V::set(1.1288391760899685e-05f);
  h = fma(h, a, V::set(-0.0001441941421944648f));
  h = fma(h, a, V::set(0.0005806271801702678f));
  h = fma(h, a, V::set(0.0008737772586755455f));
  h = fma(h, a, V::set(-0.020017940551042557f));
  h = fma(h, a, V::set(0.10940414667129517f));
  h = fma(h, a, V::set(0.6365370154380798f));
  h = fma(h, a, V::set(0.7978902459144592f));
  const V one = V::set(1.0f), t = normalTail(a) * (one - a * h);
  return selectLess(x, V::zero(), t, one - t);
}
template <template <class> class Lanes>
__attribute__((always_inline)) inline Lanes<double> geluOf(Lanes<double> x) {
  using V = Lanes<double>;
  const V half = x * V::set(0.5);
  return fma(half, erfOf(x * V::set(0.70710678118654752440)), half);
}
template <template <class> class Lanes>
__attribute__((always_inline)) inline Lanes<double> geluGradOf(Lanes<double> x) {
  using V = Lanes<double>;
  const V phi = exp2NonPositive(x * x * V::set(-0.72134752044448170368)) * V::set(0.39894228040143267794);
  const V half = V::set(0.5);
  return fma(x, phi, fma(half, erfOf(x * V::set(0.70710678118654752440)), half));
}

/// The tanh approximation of gelu, as x σ(2u) with u = √(2/π) (x + 0.044715 x³).
template <template <class> class Lanes, class T>
__attribute__((always_inline)) inline Lanes<T> geluTanhOf(Lanes<T> x) {
  using V = Lanes<T>;
  const V u2 = x * fma(x * x, V::set(T(0.07135481627260024878)), V::set(T(1.59576912160573071176)));
  return x * sigmoidOf(u2);
}
template <template <class> class Lanes, class T>
__attribute__((always_inline)) inline Lanes<T> geluTanhGradOf(Lanes<T> x) {
  using V = Lanes<T>;
  x = max(V::set(T(-32)), min(V::set(T(32)), x));  // beyond them it is 0 or 1, and the square may be no number
  const V square = x * x;
  const V s = sigmoidOf(x * fma(square, V::set(T(0.07135481627260024878)), V::set(T(1.59576912160573071176))));
  const V slope = fma(square, V::set(T(0.21406444881780074633)), V::set(T(1.59576912160573071176)));
  return fma(x * slope, s * (V::set(1) - s), s);
}

/// x σ(x)
template <template <class> class Lanes, class T>
__attribute__((always_inline)) inline Lanes<T> siluOf(Lanes<T> x) {
  return x * sigmoidOf(x);
}
template <template <class> class Lanes, class T>
__attribute__((always_inline)) inline Lanes<T> siluGradOf(Lanes<T> x) {
  using V = Lanes<T>;
  const V s = sigmoidOf(x);
  return fma(x * s, V::set(1) - s, s);
}

}  // namespace md::MD_ISA
