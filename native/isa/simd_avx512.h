// Vec<T> on AVX-512 (F, BW, DQ, VL), 64 bytes wide.
#pragma once
#include <immintrin.h>

#include <cmath>
#include <cstdint>

namespace md::MD_ISA {

/// Vector registers that a register tile may count on.
constexpr int kRegisters = 32;

template <class T>
struct Vec;

template <>
struct Vec<float> {
  static constexpr int width = 16;
  __m512 v;

  static __mmask16 lanes(int n) { return static_cast<__mmask16>((1u << n) - 1); }
  static Vec zero() { return {_mm512_setzero_ps()}; }
  static Vec set(float x) { return {_mm512_set1_ps(x)}; }
  static Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  /// The first n < width elements, zero beyond them.
  static Vec loadPart(const float* p, int n) { return {_mm512_maskz_loadu_ps(lanes(n), p)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void stream(float* p) const { _mm512_stream_ps(p, v); }
  void storePart(float* p, int n) const { _mm512_mask_storeu_ps(p, lanes(n), v); }
  float sum() const { return _mm512_reduce_add_ps(v); }
  float max() const { return _mm512_reduce_max_ps(v); }
};

template <>
struct Vec<double> {
  static constexpr int width = 8;
  __m512d v;

  static __mmask8 lanes(int n) { return static_cast<__mmask8>((1u << n) - 1); }
  static Vec zero() { return {_mm512_setzero_pd()}; }
  static Vec set(double x) { return {_mm512_set1_pd(x)}; }
  static Vec load(const double* p) { return {_mm512_loadu_pd(p)}; }
  static Vec loadPart(const double* p, int n) { return {_mm512_maskz_loadu_pd(lanes(n), p)}; }
  void store(double* p) const { _mm512_storeu_pd(p, v); }
  void stream(double* p) const { _mm512_stream_pd(p, v); }
  void storePart(double* p, int n) const { _mm512_mask_storeu_pd(p, lanes(n), v); }
  double sum() const { return _mm512_reduce_add_pd(v); }
  double max() const { return _mm512_reduce_max_pd(v); }
};

inline Vec<float> operator+(Vec<float> a, Vec<float> b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec<float> operator-(Vec<float> a, Vec<float> b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec<float> operator*(Vec<float> a, Vec<float> b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec<float> operator/(Vec<float> a, Vec<float> b) { return {_mm512_div_ps(a.v, b.v)}; }
/// a * b + c
inline Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec<float> max(Vec<float> a, Vec<float> b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vec<float> min(Vec<float> a, Vec<float> b) { return {_mm512_min_ps(a.v, b.v)}; }

inline Vec<double> operator+(Vec<double> a, Vec<double> b) { return {_mm512_add_pd(a.v, b.v)}; }
inline Vec<double> operator-(Vec<double> a, Vec<double> b) { return {_mm512_sub_pd(a.v, b.v)}; }
inline Vec<double> operator*(Vec<double> a, Vec<double> b) { return {_mm512_mul_pd(a.v, b.v)}; }
inline Vec<double> operator/(Vec<double> a, Vec<double> b) { return {_mm512_div_pd(a.v, b.v)}; }
inline Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
inline Vec<double> max(Vec<double> a, Vec<double> b) { return {_mm512_max_pd(a.v, b.v)}; }
inline Vec<double> min(Vec<double> a, Vec<double> b) { return {_mm512_min_pd(a.v, b.v)}; }

/// a * b + sum
template <class T>
inline Vec<T> addProduct(Vec<T> sum, Vec<T> a, Vec<T> b) {
  return fma(a, b, sum);
}

/// As max and min, but a NaN on either side wins.
inline Vec<float> maxOrNan(Vec<float> a, Vec<float> b) {
  return {_mm512_mask_mov_ps(_mm512_max_ps(a.v, b.v), _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q), a.v)};
}
inline Vec<float> minOrNan(Vec<float> a, Vec<float> b) {
  return {_mm512_mask_mov_ps(_mm512_min_ps(a.v, b.v), _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q), a.v)};
}
inline Vec<double> maxOrNan(Vec<double> a, Vec<double> b) {
  return {_mm512_mask_mov_pd(_mm512_max_pd(a.v, b.v), _mm512_cmp_pd_mask(a.v, a.v, _CMP_UNORD_Q), a.v)};
}
inline Vec<double> minOrNan(Vec<double> a, Vec<double> b) {
  return {_mm512_mask_mov_pd(_mm512_min_pd(a.v, b.v), _mm512_cmp_pd_mask(a.v, a.v, _CMP_UNORD_Q), a.v)};
}

/// The values of simd_avx2.h, by instructions made for it.
inline Vec<float> exp2NonPositive(Vec<float> x) {
  const __m512 r = _mm512_reduce_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 p = _mm512_set1_ps(1.326472731e-3f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.671512991e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.550733581e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.402224243e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.931470037e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  const __mmask16 lives = _mm512_cmp_ps_mask(x.v, _mm512_set1_ps(-126.5f), _CMP_NLT_UQ);
  return {_mm512_maskz_scalef_ps(lives, p, _mm512_sub_ps(x.v, r))};
}
/// e^x as expOf(float) of math.h: the bounds are where the result has become 0 or infinity by itself; NaN passes through.
inline Vec<float> expOf(Vec<float> x) {
  const __m512 bounded = _mm512_min_ps(_mm512_set1_ps(89.0f), _mm512_max_ps(_mm512_set1_ps(-104.5f), x.v));
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(bounded, _mm512_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.12194440e-4f), _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), bounded));
  __m512 p = _mm512_set1_ps(1.9875691500e-4f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
  p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, _mm512_set1_ps(1.0f)));
  return {_mm512_scalef_ps(p, n)};
}

inline Vec<double> exp2NonPositive(Vec<double> x) {
  double lanes[8];
  x.store(lanes);
  for (double& lane : lanes) lane = std::exp2(lane);
  return Vec<double>::load(lanes);
}

inline Vec<float> abs(Vec<float> x) { return {_mm512_andnot_ps(_mm512_set1_ps(-0.0f), x.v)}; }
inline Vec<double> abs(Vec<double> x) { return {_mm512_andnot_pd(_mm512_set1_pd(-0.0), x.v)}; }
/// x >= 0 with the sign of `sign`.
inline Vec<float> withSign(Vec<float> x, Vec<float> sign) {
  return {_mm512_or_ps(x.v, _mm512_and_ps(_mm512_set1_ps(-0.0f), sign.v))};
}
inline Vec<double> withSign(Vec<double> x, Vec<double> sign) {
  return {_mm512_or_pd(x.v, _mm512_and_pd(_mm512_set1_pd(-0.0), sign.v))};
}
/// a < b ? x : y; y where a or b is NaN.
inline Vec<float> selectLess(Vec<float> a, Vec<float> b, Vec<float> x, Vec<float> y) {
  return {_mm512_mask_mov_ps(y.v, _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), x.v)};
}
inline Vec<double> selectLess(Vec<double> a, Vec<double> b, Vec<double> x, Vec<double> y) {
  return {_mm512_mask_mov_pd(y.v, _mm512_cmp_pd_mask(a.v, b.v, _CMP_LT_OQ), x.v)};
}

/// Rows become columns: 2 x 2, then 4 x 4 blocks within the 128-bit lanes, then the lanes themselves.
inline void transpose(Vec<float> (&r)[16]) {
  __m512 pairs[16], fours[16];
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    pairs[i] = _mm512_unpacklo_ps(r[i].v, r[i + 1].v);
    pairs[i + 1] = _mm512_unpackhi_ps(r[i].v, r[i + 1].v);
    pairs[i + 2] = _mm512_unpacklo_ps(r[i + 2].v, r[i + 3].v);
    pairs[i + 3] = _mm512_unpackhi_ps(r[i + 2].v, r[i + 3].v);
    fours[i] = _mm512_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
    fours[i + 1] = _mm512_shuffle_ps(pairs[i], pairs[i + 2], 0xEE);
    fours[i + 2] = _mm512_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
    fours[i + 3] = _mm512_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xEE);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    const __m512 evenLow = _mm512_shuffle_f32x4(fours[i], fours[i + 4], 0x88);
    const __m512 oddLow = _mm512_shuffle_f32x4(fours[i], fours[i + 4], 0xDD);
    const __m512 evenHigh = _mm512_shuffle_f32x4(fours[i + 8], fours[i + 12], 0x88);
    const __m512 oddHigh = _mm512_shuffle_f32x4(fours[i + 8], fours[i + 12], 0xDD);
    r[i].v = _mm512_shuffle_f32x4(evenLow, evenHigh, 0x88);
    r[i + 4].v = _mm512_shuffle_f32x4(oddLow, oddHigh, 0x88);
    r[i + 8].v = _mm512_shuffle_f32x4(evenLow, evenHigh, 0xDD);
    r[i + 12].v = _mm512_shuffle_f32x4(oddLow, oddHigh, 0xDD);
  }
}
inline void transpose(Vec<double> (&r)[8]) {
  __m512d pairs[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm512_unpacklo_pd(r[i].v, r[i + 1].v);
    pairs[i + 1] = _mm512_unpackhi_pd(r[i].v, r[i + 1].v);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; i++) {
    const __m512d evenLow = _mm512_shuffle_f64x2(pairs[i], pairs[i + 2], 0x88);
    const __m512d oddLow = _mm512_shuffle_f64x2(pairs[i], pairs[i + 2], 0xDD);
    const __m512d evenHigh = _mm512_shuffle_f64x2(pairs[i + 4], pairs[i + 6], 0x88);
    const __m512d oddHigh = _mm512_shuffle_f64x2(pairs[i + 4], pairs[i + 6], 0xDD);
    r[i].v = _mm512_shuffle_f64x2(evenLow, evenHigh, 0x88);
    r[i + 2].v = _mm512_shuffle_f64x2(oddLow, oddHigh, 0x88);
    r[i + 4].v = _mm512_shuffle_f64x2(evenLow, evenHigh, 0xDD);
    r[i + 6].v = _mm512_shuffle_f64x2(oddLow, oddHigh, 0xDD);
  }
}

/// Copies past the caches; streamFence() makes it visible to other threads.
inline void streamBytes(const void* from, void* to, int64_t bytes) {
  constexpr int64_t kLine = 64;
  const char* source = static_cast<const char*>(from);
  char* target = static_cast<char*>(to);
  const int64_t ahead = -reinterpret_cast<intptr_t>(target) & (kLine - 1), head = ahead < bytes ? ahead : bytes;
  __builtin_memcpy(target, source, static_cast<size_t>(head));
  int64_t i = head;
  for (; i + kLine <= bytes; i += kLine) _mm512_stream_si512(reinterpret_cast<__m512i*>(target + i), _mm512_loadu_si512(source + i));
  __builtin_memcpy(target + i, source + i, static_cast<size_t>(bytes - i));
}
inline void streamFence() { _mm_sfence(); }

}  // namespace md::MD_ISA
