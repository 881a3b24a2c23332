// Reductions of one run of adjacent elements that stays in cache: rows of softmax, norms and losses.
#pragma once
#include "simd.h"

namespace md::MD_ISA {

template <class T>
inline T sumOf(const T* x, int64_t n) {
  constexpr int W = Vec<T>::width;
  Vec<T> a = Vec<T>::zero(), b = a, c = a, d = a;
  int64_t i = 0;
  for (; i + 4 * W <= n; i += 4 * W) {
    a = a + Vec<T>::load(x + i);
    b = b + Vec<T>::load(x + i + W);
    c = c + Vec<T>::load(x + i + 2 * W);
    d = d + Vec<T>::load(x + i + 3 * W);
  }
  for (; i + W <= n; i += W) a = a + Vec<T>::load(x + i);
  if (i < n) b = b + Vec<T>::loadPart(x + i, static_cast<int>(n - i));
  return ((a + b) + (c + d)).sum();
}

template <class T>
inline T dotOf(const T* x, const T* y, int64_t n) {
  constexpr int W = Vec<T>::width;
  Vec<T> a = Vec<T>::zero(), b = a, c = a, d = a;
  int64_t i = 0;
  for (; i + 4 * W <= n; i += 4 * W) {
    a = fma(Vec<T>::load(x + i), Vec<T>::load(y + i), a);
    b = fma(Vec<T>::load(x + i + W), Vec<T>::load(y + i + W), b);
    c = fma(Vec<T>::load(x + i + 2 * W), Vec<T>::load(y + i + 2 * W), c);
    d = fma(Vec<T>::load(x + i + 3 * W), Vec<T>::load(y + i + 3 * W), d);
  }
  for (; i + W <= n; i += W) a = fma(Vec<T>::load(x + i), Vec<T>::load(y + i), a);
  if (i < n) {
    const int left = static_cast<int>(n - i);
    b = fma(Vec<T>::loadPart(x + i, left), Vec<T>::loadPart(y + i, left), b);
  }
  return ((a + b) + (c + d)).sum();
}

/// Sum of (x - center)^2.
template <class T>
inline T squaredDistanceOf(const T* x, T center, int64_t n) {
  constexpr int W = Vec<T>::width;
  const Vec<T> middle = Vec<T>::set(center);
  Vec<T> a = Vec<T>::zero(), b = a;
  int64_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    const Vec<T> p = Vec<T>::load(x + i) - middle, q = Vec<T>::load(x + i + W) - middle;
    a = fma(p, p, a);
    b = fma(q, q, b);
  }
  for (; i + W <= n; i += W) {
    const Vec<T> p = Vec<T>::load(x + i) - middle;
    a = fma(p, p, a);
  }
  T total = (a + b).sum();
  for (; i < n; i++) total += (x[i] - center) * (x[i] - center);
  return total;
}

/// Sums of g and of g · (x - mean) · rstd over one run: what every norm's gradient needs.
template <class T>
inline void gradSumsOf(const T* x, const T* g, T mean, T rstd, int64_t n, T& sumG, T& sumX) {
  constexpr int W = Vec<T>::width;
  const Vec<T> center = Vec<T>::set(mean), scale = Vec<T>::set(rstd);
  Vec<T> a = Vec<T>::zero(), b = a;
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    const Vec<T> grad = Vec<T>::load(g + i);
    a = a + grad;
    b = fma(grad, (Vec<T>::load(x + i) - center) * scale, b);
  }
  sumG = a.sum();
  sumX = b.sum();
  for (; i < n; i++) {
    sumG += g[i];
    sumX += g[i] * ((x[i] - mean) * rstd);
  }
}

/// The greatest of n >= 1 elements. Beside a NaN it may be any: the sum of the powers becomes NaN by itself.
template <class T>
inline T maxOf(const T* x, int64_t n) {
  constexpr int W = Vec<T>::width;
  Vec<T> a = Vec<T>::set(x[0]), b = a;
  int64_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    a = max(a, Vec<T>::load(x + i));
    b = max(b, Vec<T>::load(x + i + W));
  }
  T top = max(a, b).max();
  for (; i < n; i++) top = x[i] > top ? x[i] : top;
  return top;
}

}  // namespace md::MD_ISA
