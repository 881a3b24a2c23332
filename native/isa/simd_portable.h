// Vec<T> in GCC vector extensions, 16 bytes wide: any processor.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace md::MD_ISA {

/// Vector registers that a register tile may count on.
constexpr int kRegisters = 16;

template <class T>
struct Vec {
  typedef T Native __attribute__((vector_size(16)));
  static constexpr int width = 16 / sizeof(T);
  Native v;

  static Vec zero() { return {Native{}}; }
  static Vec set(T x) { return {Native{} + x}; }
  static Vec load(const T* p) {
    Vec out;
    std::memcpy(&out.v, p, sizeof(Native));
    return out;
  }
  /// The first n < width elements, zero beyond them.
  static Vec loadPart(const T* p, int n) {
    Vec out = zero();
    for (int i = 0; i < n; i++) out.v[i] = p[i];
    return out;
  }
  void store(T* p) const { std::memcpy(p, &v, sizeof(Native)); }
  void stream(T* p) const { store(p); }
  void storePart(T* p, int n) const {
    for (int i = 0; i < n; i++) p[i] = v[i];
  }
  T sum() const {
    T total = 0;
    for (int i = 0; i < width; i++) total += v[i];
    return total;
  }
  T max() const {
    T best = v[0];
    for (int i = 1; i < width; i++) best = v[i] > best ? v[i] : best;
    return best;
  }
};

template <class T>
inline Vec<T> operator+(Vec<T> a, Vec<T> b) {
  return {a.v + b.v};
}
template <class T>
inline Vec<T> operator-(Vec<T> a, Vec<T> b) {
  return {a.v - b.v};
}
template <class T>
inline Vec<T> operator*(Vec<T> a, Vec<T> b) {
  return {a.v * b.v};
}
template <class T>
inline Vec<T> operator/(Vec<T> a, Vec<T> b) {
  return {a.v / b.v};
}
/// a * b + c
template <class T>
inline Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return {a.v * b.v + c.v};
}
/// a * b + sum
template <class T>
inline Vec<T> addProduct(Vec<T> sum, Vec<T> a, Vec<T> b) {
  return fma(a, b, sum);
}
template <class T>
inline Vec<T> max(Vec<T> a, Vec<T> b) {
  return {a.v > b.v ? a.v : b.v};
}
template <class T>
inline Vec<T> min(Vec<T> a, Vec<T> b) {
  return {a.v < b.v ? a.v : b.v};
}

/// As max and min, but a NaN on either side wins.
template <class T>
inline Vec<T> maxOrNan(Vec<T> a, Vec<T> b) {
  return {(a.v > b.v) | (a.v != a.v) ? a.v : b.v};
}
template <class T>
inline Vec<T> minOrNan(Vec<T> a, Vec<T> b) {
  return {(a.v < b.v) | (a.v != a.v) ? a.v : b.v};
}

/// 2^x for x <= 0; f32: within 2 ulp and exactly 0 where the result would be below 2^-126.5. NaN stays NaN.
/// x = n + r with |r| <= 1/2: a minimax polynomial of r, and n into the exponent bits; 1.5 * 2^23 rounds to an integer.
inline Vec<float> exp2NonPositive(Vec<float> x) {
  using Native = Vec<float>::Native;
  typedef uint32_t Bits __attribute__((vector_size(16)));
  const Native bounded = x.v < -127.0f ? Native{} - 127.0f : x.v;
  const Native shifted = bounded + (12582912.0f + 127.0f);
  const Native r = bounded - (shifted - (12582912.0f + 127.0f));
  Native p = Native{} + 1.326472731e-3f;
  p = p * r + 9.671512991e-3f;
  p = p * r + 5.550733581e-2f;
  p = p * r + 2.402224243e-1f;
  p = p * r + 6.931470037e-1f;
  p = p * r + 1.0f;
  return {p * std::bit_cast<Native>(std::bit_cast<Bits>(shifted) << 23)};
}
/// e^x as expOf(float) of math.h, operation by operation.
inline Vec<float> expOf(Vec<float> x) {
  using Native = Vec<float>::Native;
  typedef int32_t Whole __attribute__((vector_size(16)));
  const Native above = x.v < -104.5f ? Native{} - 104.5f : x.v;
  const Native bounded = above > 89.0f ? Native{} + 89.0f : above;
  const Native shifted = bounded * 1.44269504f + 12582912.0f;
  const Native n = shifted - 12582912.0f;
  const Native r = (bounded - n * 0.693359375f) + n * 2.12194440e-4f;
  Native p = Native{} + 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const Whole k = std::bit_cast<Whole>(shifted) - 0x4B400000, half = k >> 1;
  return {p * std::bit_cast<Native>((half + 127) << 23) * std::bit_cast<Native>((k - half + 127) << 23)};
}
inline Vec<double> exp2NonPositive(Vec<double> x) {
  Vec<double> out;
  for (int i = 0; i < Vec<double>::width; i++) out.v[i] = std::exp2(x.v[i]);
  return out;
}

template <class T>
inline Vec<T> abs(Vec<T> x) {
  return {x.v < 0 ? -x.v : x.v + T(0)};
}
/// x >= 0 with the sign of `sign`.
template <class T>
inline Vec<T> withSign(Vec<T> x, Vec<T> sign) {
  return {sign.v < 0 ? -x.v : x.v};
}
/// a < b ? x : y; y where a or b is NaN.
template <class T>
inline Vec<T> selectLess(Vec<T> a, Vec<T> b, Vec<T> x, Vec<T> y) {
  return {a.v < b.v ? x.v : y.v};
}

/// Rows become columns.
template <class T>
inline void transpose(Vec<T> (&rows)[Vec<T>::width]) {
  for (int i = 0; i < Vec<T>::width; i++) {
    for (int j = 0; j < i; j++) {
      const T upper = rows[j].v[i];
      rows[j].v[i] = rows[i].v[j];
      rows[i].v[j] = upper;
    }
  }
}

/// A plain copy: there is no store past the caches that every processor has.
inline void streamBytes(const void* from, void* to, int64_t bytes) { __builtin_memcpy(to, from, static_cast<size_t>(bytes)); }
inline void streamFence() {}

}  // namespace md::MD_ISA
