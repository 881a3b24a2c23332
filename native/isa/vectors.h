// Runs of adjacent elements, vector by vector; the last vector may be partial.
#pragma once
#include "simd.h"

namespace md::MD_ISA {

/// The first n lanes from p, zero beyond them; all of them from n = width on.
template <class T>
inline Vec<T> loadLanes(const T* p, int n) {
  return n >= Vec<T>::width ? Vec<T>::load(p) : Vec<T>::loadPart(p, n);
}
/// The same with `absent` beyond them.
template <class T>
inline Vec<T> loadOr(const T* p, int64_t n, T absent) {
  constexpr int W = Vec<T>::width;
  if (n >= W) return Vec<T>::load(p);
  T lanes[W];
  for (int k = 0; k < W; k++) lanes[k] = k < n ? p[k] : absent;
  return Vec<T>::load(lanes);
}
template <class T>
inline void storeLanes(Vec<T> x, T* p, int n) {
  if (n >= Vec<T>::width) {
    x.store(p);
  } else {
    x.storePart(p, n);
  }
}

/// The first n lanes to p; `Past` the caches they go whole.
template <bool Past, class T>
inline __attribute__((always_inline)) void putLanes(Vec<T> x, T* p, int n) {
  if constexpr (Past) {
    x.stream(p);
  } else {
    storeLanes(x, p, n);
  }
}

/// f(offset, lanes) for each vector of n elements.
template <class T, class F>
inline __attribute__((always_inline)) void forVectors(int64_t n, F f) {
  constexpr int W = Vec<T>::width;
  int64_t i = 0;
  for (; i + W <= n; i += W) f(i, W);
  if (i < n) f(i, static_cast<int>(n - i));
}

/// out = f(in), stored by putLanes; they may be the same.
template <bool Past = false, class T, class F>
inline __attribute__((always_inline)) void mapVectors(const T* in, T* out, int64_t n, F f) {
  forVectors<T>(n, [&](int64_t i, int lanes) __attribute__((always_inline)) { putLanes<Past>(f(loadLanes(in + i, lanes)), out + i, lanes); });
}

}  // namespace md::MD_ISA
