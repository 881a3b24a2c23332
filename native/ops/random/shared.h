// Functions of uniform bits, in additions, multiplications, divisions and square roots alone: IEEE gives the same bits
// everywhere as long as the compiler does not contract them.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

#include "../../core/host_device.h"

namespace md::random {

/// log(x) for a normal x > 0: x = 2^k m with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh((m - 1) / (m + 1)).
MD_HOST_DEVICE inline float logOf(float x) {
  const int32_t bits = std::bit_cast<int32_t>(x);
  const int32_t k = (bits - 0x3F3504F3) >> 23;
  const float m = std::bit_cast<float>(bits - (k << 23));
  const float s = (m - 1.0f) / (m + 1.0f), z = s * s;
  float p = 1.0f / 11;
  p = p * z + 1.0f / 9;
  p = p * z + 1.0f / 7;
  p = p * z + 1.0f / 5;
  p = p * z + 1.0f / 3;
  return static_cast<float>(k) * 0.693147182f + (2.0f * s + 2.0f * s * (z * p));
}
MD_HOST_DEVICE inline double logOf(double x) {
  const int64_t bits = std::bit_cast<int64_t>(x);
  const int64_t k = (bits - 0x3FE6A09E667F3BCD) >> 52;
  const double m = std::bit_cast<double>(bits - (k << 52));
  const double s = (m - 1.0) / (m + 1.0), z = s * s;
  double p = 1.0 / 23;
  for (int n = 21; n >= 3; n -= 2) p = p * z + 1.0 / n;
  return static_cast<double>(k) * 0.69314718055994530942 + (2.0 * s + 2.0 * s * (z * p));
}

/// Sine and cosine for |x| <= pi/4 by their series.
template <class T>
MD_HOST_DEVICE inline void sinCosOf(T x, T& sine, T& cosine) {
  constexpr int kTerms = sizeof(T) == 4 ? 5 : 9;
  const T z = x * x;
  T s = 1, c = 1;
  for (int n = kTerms; n >= 1; n--) {
    s = T(1) - s * z * (T(1) / T(2 * n * (2 * n + 1)));
    c = T(1) - c * z * (T(1) / T(2 * n * (2 * n - 1)));
  }
  sine = s * x;
  cosine = c;
}

/// The point at the angle `quarter` * pi/2 + rest, |rest| <= pi/4.
template <class T>
MD_HOST_DEVICE inline void turn(uint32_t quarter, T rest, T& sine, T& cosine) {
  T s, c;
  sinCosOf(rest, s, c);
  const bool swap = quarter & 1;
  const T y = swap ? c : s, x = swap ? s : c;
  sine = quarter & 2 ? -y : y;
  cosine = (quarter + 1) & 2 ? -x : x;
}

/// Two independent standard normals from 2 * 32 bits.
MD_HOST_DEVICE inline void normalPair(uint32_t a, uint32_t b, float& first, float& second) {
  const float u = (static_cast<float>(static_cast<int32_t>(a >> 1)) + 0.5f) * 0x1p-31f;  // (0, 1]
  const float radius = std::sqrt(-2.0f * logOf(u));
  const uint32_t rounded = b + 0x20000000u;
  const int32_t rest = static_cast<int32_t>(rounded & 0x3FFFFFFFu) - 0x20000000;
  float s, c;
  turn(rounded >> 30, static_cast<float>(rest) * (1.57079632679489661923f * 0x1p-30f), s, c);
  first = radius * c;
  second = radius * s;
}

/// Two independent standard normals from 2 * 64 bits.
MD_HOST_DEVICE inline void normalPair(uint64_t a, uint64_t b, double& first, double& second) {
  const double u = (static_cast<double>(static_cast<int64_t>(a >> 11)) + 0.5) * 0x1p-53;
  const double radius = std::sqrt(-2.0 * logOf(u < 1.0 ? u : 1.0));
  const uint64_t rounded = b + 0x2000000000000000u;
  const int64_t rest = static_cast<int64_t>(rounded & 0x3FFFFFFFFFFFFFFFu) - 0x2000000000000000;
  double s, c;
  turn(static_cast<uint32_t>(rounded >> 62), static_cast<double>(rest) * (1.57079632679489661923 * 0x1p-62), s, c);
  first = radius * c;
  second = radius * s;
}

}  // namespace md::random
