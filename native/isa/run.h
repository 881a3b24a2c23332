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

/// The greatest of n >= 1 elements; NaN if there is one.
template <class T>
inline T maxOf(const T* x, int64_t n) {
  constexpr int W = Vec<T>::width;
  T best = x[0];
  int64_t i = 0;
  if (n >= W) {
    Vec<T> a = Vec<T>::load(x), b = a;
    for (i = W; i + 2 * W <= n; i += 2 * W) {
      a = maxOrNan(a, Vec<T>::load(x + i));
      b = maxOrNan(b, Vec<T>::load(x + i + W));
    }
    if (i + W <= n) {
      a = maxOrNan(a, Vec<T>::load(x + i));
      i += W;
    }
    alignas(64) T lanes[W];
    maxOrNan(a, b).store(lanes);
#pragma GCC unroll 4
    for (int half = W / 2; half > 0; half /= 2) {
      for (int k = 0; k < half; k++) lanes[k] = (lanes[k] > lanes[k + half]) | (lanes[k] != lanes[k]) ? lanes[k] : lanes[k + half];
    }
    best = lanes[0];
  }
  for (; i < n; i++) best = (best > x[i]) | (best != best) ? best : x[i];
  return best;
}

}  // namespace md::MD_ISA
