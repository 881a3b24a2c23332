// Scalar functions that the compiler vectorises (f32), which a call would prevent, and their exact forms (f64).
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

#include "simd.h"

namespace md::MD_ISA {

/// e^x; f32 within 2 ulp: x = n ln2 + r, a degree-6 polynomial of r, and n into the exponent bits. The bounds are where
/// the result has become 0 or infinity by itself; NaN passes through.
__attribute__((always_inline)) inline float expOf(float x) {
  const float above = x < -104.5f ? -104.5f : x;
  const float bounded = above > 89.0f ? 89.0f : above;
  const float shifted = bounded * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: rounds to an integer in the low bits
  const float n = shifted - 12582912.0f;
  const float r = (bounded - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  // Two factors keep both ends in range: 2^n is no float for n = 128 nor for n < -126.
  const int32_t k = std::bit_cast<int32_t>(shifted) - 0x4B400000;
  const int32_t half = k >> 1;
  return p * std::bit_cast<float>((half + 127) << 23) * std::bit_cast<float>((k - half + 127) << 23);
}
__attribute__((always_inline)) inline double expOf(double x) { return std::exp(x); }
/// Lane by lane, where the instruction set has no way of its own.
template <class T>
inline Vec<T> expOf(Vec<T> x) {
  alignas(64) T lanes[Vec<T>::width];
  x.store(lanes);
  for (T& lane : lanes) lane = expOf(lane);
  return Vec<T>::load(lanes);
}

/// e^x for x <= 0; f32 within 2 + 1.2 |x| ulp, and 0 below 2^-126.5.
inline Vec<float> expOfNegative(Vec<float> x) { return exp2NonPositive(x * Vec<float>::set(1.44269504f)); }
inline Vec<double> expOfNegative(Vec<double> x) { return expOf(x); }

/// tanh; f32: an odd polynomial where e^2x would cancel, (1 - e^-2|x|) / (1 + e^-2|x|) elsewhere.
__attribute__((always_inline)) inline float tanhOf(float x) {
  const float a = x < 0 ? -x : x;
  const float e = expOf(-2.0f * a);
  const float large = (1.0f - e) / (1.0f + e);
  const float s = x * x;
  float p = -5.70498872745e-3f;
  p = p * s + 2.06390887954e-2f;
  p = p * s + -5.37397155531e-2f;
  p = p * s + 1.33314422036e-1f;
  p = p * s + -3.33332819422e-1f;
  const float small = x + x * s * p;
  return a < 0.625f ? small : (x < 0 ? -large : large);
}
__attribute__((always_inline)) inline double tanhOf(double x) { return std::tanh(x); }

}  // namespace md::MD_ISA
