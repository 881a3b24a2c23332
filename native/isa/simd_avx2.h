// Vec<T> on AVX2 + FMA, 32 bytes wide.
#pragma once
#include <immintrin.h>

#include <cmath>
#include <cstdint>

namespace md::MD_ISA {

/// Vector registers that a register tile may count on.
constexpr int kRegisters = 16;

template <class T>
struct Vec;

inline __m256i laneMask32(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline __m256i laneMask64(int n) { return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3)); }

template <>
struct Vec<float> {
  static constexpr int width = 8;
  __m256 v;

  static Vec zero() { return {_mm256_setzero_ps()}; }
  static Vec set(float x) { return {_mm256_set1_ps(x)}; }
  static Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  /// The first n < width elements, zero beyond them.
  static Vec loadPart(const float* p, int n) { return {_mm256_maskload_ps(p, laneMask32(n))}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  /// Past the caches, to a multiple of the vector's size; streamFence() makes it visible to other threads.
  void stream(float* p) const { _mm256_stream_ps(p, v); }
  /// By halves: a masked store takes tens of cycles on AMD's processors.
  void storePart(float* p, int n) const {
    __m128 x = _mm256_castps256_ps128(v);
    if (n & 4) {
      _mm_storeu_ps(p, x);
      x = _mm256_extractf128_ps(v, 1);
      p += 4;
    }
    if (n & 2) {
      _mm_storel_pi(reinterpret_cast<__m64*>(p), x);
      x = _mm_movehl_ps(x, x);
      p += 2;
    }
    if (n & 1) _mm_store_ss(p, x);
  }
  float sum() const {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
  }
  float max() const {
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
  }
};

template <>
struct Vec<double> {
  static constexpr int width = 4;
  __m256d v;

  static Vec zero() { return {_mm256_setzero_pd()}; }
  static Vec set(double x) { return {_mm256_set1_pd(x)}; }
  static Vec load(const double* p) { return {_mm256_loadu_pd(p)}; }
  static Vec loadPart(const double* p, int n) { return {_mm256_maskload_pd(p, laneMask64(n))}; }
  void store(double* p) const { _mm256_storeu_pd(p, v); }
  void stream(double* p) const { _mm256_stream_pd(p, v); }
  void storePart(double* p, int n) const {
    __m128d x = _mm256_castpd256_pd128(v);
    if (n & 2) {
      _mm_storeu_pd(p, x);
      x = _mm256_extractf128_pd(v, 1);
      p += 2;
    }
    if (n & 1) _mm_store_sd(p, x);
  }
  double sum() const {
    __m128d x = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(x, _mm_unpackhi_pd(x, x)));
  }
  double max() const {
    __m128d x = _mm_max_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_max_sd(x, _mm_unpackhi_pd(x, x)));
  }
};

inline Vec<float> operator+(Vec<float> a, Vec<float> b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vec<float> operator-(Vec<float> a, Vec<float> b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vec<float> operator*(Vec<float> a, Vec<float> b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vec<float> operator/(Vec<float> a, Vec<float> b) { return {_mm256_div_ps(a.v, b.v)}; }
/// a * b + c
inline Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
/// a * b + sum where the sum is: for tiles that fill all registers, among which a compiler would move sums about.
inline Vec<float> addProduct(Vec<float> sum, Vec<float> a, Vec<float> b) {
  asm("vfmadd231ps %2, %1, %0" : "+x"(sum.v) : "x"(a.v), "x"(b.v));
  return sum;
}
inline Vec<double> addProduct(Vec<double> sum, Vec<double> a, Vec<double> b) {
  asm("vfmadd231pd %2, %1, %0" : "+x"(sum.v) : "x"(a.v), "x"(b.v));
  return sum;
}
inline Vec<float> max(Vec<float> a, Vec<float> b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Vec<float> min(Vec<float> a, Vec<float> b) { return {_mm256_min_ps(a.v, b.v)}; }

inline Vec<double> operator+(Vec<double> a, Vec<double> b) { return {_mm256_add_pd(a.v, b.v)}; }
inline Vec<double> operator-(Vec<double> a, Vec<double> b) { return {_mm256_sub_pd(a.v, b.v)}; }
inline Vec<double> operator*(Vec<double> a, Vec<double> b) { return {_mm256_mul_pd(a.v, b.v)}; }
inline Vec<double> operator/(Vec<double> a, Vec<double> b) { return {_mm256_div_pd(a.v, b.v)}; }
inline Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
inline Vec<double> max(Vec<double> a, Vec<double> b) { return {_mm256_max_pd(a.v, b.v)}; }
inline Vec<double> min(Vec<double> a, Vec<double> b) { return {_mm256_min_pd(a.v, b.v)}; }

/// As max and min, but a NaN on either side wins.
inline Vec<float> maxOrNan(Vec<float> a, Vec<float> b) {
  return {_mm256_blendv_ps(_mm256_max_ps(a.v, b.v), a.v, _mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q))};
}
inline Vec<float> minOrNan(Vec<float> a, Vec<float> b) {
  return {_mm256_blendv_ps(_mm256_min_ps(a.v, b.v), a.v, _mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q))};
}
inline Vec<double> maxOrNan(Vec<double> a, Vec<double> b) {
  return {_mm256_blendv_pd(_mm256_max_pd(a.v, b.v), a.v, _mm256_cmp_pd(a.v, a.v, _CMP_UNORD_Q))};
}
inline Vec<double> minOrNan(Vec<double> a, Vec<double> b) {
  return {_mm256_blendv_pd(_mm256_min_pd(a.v, b.v), a.v, _mm256_cmp_pd(a.v, a.v, _CMP_UNORD_Q))};
}

/// 2^x for x <= 0, within 2 ulp; exactly 0 where the result would be below 2^-126.5. NaN stays NaN.
/// x = n + r with |r| <= 1/2: a minimax polynomial of r, and n into the exponent bits; 1.5 * 2^23 rounds to an integer.
inline Vec<float> exp2NonPositive(Vec<float> x) {
  const __m256 bounded = _mm256_max_ps(_mm256_set1_ps(-127.0f), x.v);
  const __m256 shifted = _mm256_add_ps(bounded, _mm256_set1_ps(12582912.0f + 127.0f));
  const __m256 r = _mm256_sub_ps(bounded, _mm256_sub_ps(shifted, _mm256_set1_ps(12582912.0f + 127.0f)));
  const __m256 power = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(shifted), 23));
  __m256 p = _mm256_set1_ps(1.326472731e-3f);
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(9.671512991e-3f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.550733581e-2f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(2.402224243e-1f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(6.931470037e-1f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
  return {_mm256_mul_ps(p, power)};
}
/// e^x as expOf(float) of math.h, operation by operation.
inline Vec<float> expOf(Vec<float> x) {
  const __m256 bounded = _mm256_min_ps(_mm256_set1_ps(89.0f), _mm256_max_ps(_mm256_set1_ps(-104.5f), x.v));
  const __m256 shifted = _mm256_fmadd_ps(bounded, _mm256_set1_ps(1.44269504f), _mm256_set1_ps(12582912.0f));
  const __m256 n = _mm256_sub_ps(shifted, _mm256_set1_ps(12582912.0f));
  const __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(2.12194440e-4f), _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), bounded));
  __m256 p = _mm256_set1_ps(1.9875691500e-4f);
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.3981999507e-3f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073e-3f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894e-2f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459e-1f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.0000001201e-1f));
  p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), _mm256_add_ps(r, _mm256_set1_ps(1.0f)));
  const __m256i k = _mm256_sub_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(0x4B400000)), half = _mm256_srai_epi32(k, 1);
  const auto power = [](__m256i e) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(e, _mm256_set1_epi32(127)), 23)); };
  return {_mm256_mul_ps(_mm256_mul_ps(p, power(half)), power(_mm256_sub_epi32(k, half)))};
}
inline Vec<double> exp2NonPositive(Vec<double> x) {
  double lanes[4];
  _mm256_storeu_pd(lanes, x.v);
  for (double& lane : lanes) lane = std::exp2(lane);
  return Vec<double>::load(lanes);
}

inline Vec<float> abs(Vec<float> x) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), x.v)}; }
inline Vec<double> abs(Vec<double> x) { return {_mm256_andnot_pd(_mm256_set1_pd(-0.0), x.v)}; }
/// x >= 0 with the sign of `sign`.
inline Vec<float> withSign(Vec<float> x, Vec<float> sign) {
  return {_mm256_or_ps(x.v, _mm256_and_ps(_mm256_set1_ps(-0.0f), sign.v))};
}
inline Vec<double> withSign(Vec<double> x, Vec<double> sign) {
  return {_mm256_or_pd(x.v, _mm256_and_pd(_mm256_set1_pd(-0.0), sign.v))};
}
/// a < b ? x : y; y where a or b is NaN.
inline Vec<float> selectLess(Vec<float> a, Vec<float> b, Vec<float> x, Vec<float> y) {
  return {_mm256_blendv_ps(y.v, x.v, _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ))};
}
inline Vec<double> selectLess(Vec<double> a, Vec<double> b, Vec<double> x, Vec<double> y) {
  return {_mm256_blendv_pd(y.v, x.v, _mm256_cmp_pd(a.v, b.v, _CMP_LT_OQ))};
}

/// Rows become columns.
inline void transpose(Vec<float> (&r)[8]) {
  const __m256 a0 = _mm256_unpacklo_ps(r[0].v, r[1].v), a1 = _mm256_unpackhi_ps(r[0].v, r[1].v);
  const __m256 a2 = _mm256_unpacklo_ps(r[2].v, r[3].v), a3 = _mm256_unpackhi_ps(r[2].v, r[3].v);
  const __m256 a4 = _mm256_unpacklo_ps(r[4].v, r[5].v), a5 = _mm256_unpackhi_ps(r[4].v, r[5].v);
  const __m256 a6 = _mm256_unpacklo_ps(r[6].v, r[7].v), a7 = _mm256_unpackhi_ps(r[6].v, r[7].v);
  const __m256 b0 = _mm256_shuffle_ps(a0, a2, 0x44), b1 = _mm256_shuffle_ps(a0, a2, 0xEE);
  const __m256 b2 = _mm256_shuffle_ps(a1, a3, 0x44), b3 = _mm256_shuffle_ps(a1, a3, 0xEE);
  const __m256 b4 = _mm256_shuffle_ps(a4, a6, 0x44), b5 = _mm256_shuffle_ps(a4, a6, 0xEE);
  const __m256 b6 = _mm256_shuffle_ps(a5, a7, 0x44), b7 = _mm256_shuffle_ps(a5, a7, 0xEE);
  r[0].v = _mm256_permute2f128_ps(b0, b4, 0x20);
  r[1].v = _mm256_permute2f128_ps(b1, b5, 0x20);
  r[2].v = _mm256_permute2f128_ps(b2, b6, 0x20);
  r[3].v = _mm256_permute2f128_ps(b3, b7, 0x20);
  r[4].v = _mm256_permute2f128_ps(b0, b4, 0x31);
  r[5].v = _mm256_permute2f128_ps(b1, b5, 0x31);
  r[6].v = _mm256_permute2f128_ps(b2, b6, 0x31);
  r[7].v = _mm256_permute2f128_ps(b3, b7, 0x31);
}
inline void transpose(Vec<double> (&r)[4]) {
  const __m256d a0 = _mm256_unpacklo_pd(r[0].v, r[1].v), a1 = _mm256_unpackhi_pd(r[0].v, r[1].v);
  const __m256d a2 = _mm256_unpacklo_pd(r[2].v, r[3].v), a3 = _mm256_unpackhi_pd(r[2].v, r[3].v);
  r[0].v = _mm256_permute2f128_pd(a0, a2, 0x20);
  r[1].v = _mm256_permute2f128_pd(a1, a3, 0x20);
  r[2].v = _mm256_permute2f128_pd(a0, a2, 0x31);
  r[3].v = _mm256_permute2f128_pd(a1, a3, 0x31);
}

/// Copies past the caches; streamFence() makes it visible to other threads.
inline void streamBytes(const void* from, void* to, int64_t bytes) {
  constexpr int64_t kLine = 32;
  const char* source = static_cast<const char*>(from);
  char* target = static_cast<char*>(to);
  const int64_t ahead = -reinterpret_cast<intptr_t>(target) & (kLine - 1), head = ahead < bytes ? ahead : bytes;
  __builtin_memcpy(target, source, static_cast<size_t>(head));
  int64_t i = head;
  for (; i + kLine <= bytes; i += kLine) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(target + i), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source + i)));
  }
  __builtin_memcpy(target + i, source + i, static_cast<size_t>(bytes - i));
}
inline void streamFence() { _mm_sfence(); }

}  // namespace md::MD_ISA
