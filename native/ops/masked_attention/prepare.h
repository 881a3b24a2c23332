// What rows of q and k go through on their way into the kernels: LayerNorm over the head and 3D rotation, in either order.
// For kernel files only.
#pragma once
#include <cmath>
#include <cstring>

#include "../../isa/simd.h"
#include "../rotary_embedding/rotate.h"
#include "kernels.h"

namespace md::masked_attention::MD_ISA {

using md::MD_ISA::Vec;
using md::rotary_embedding::MD_ISA::rotateRow;

inline int64_t roundUp(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

/// f(offset, lanes) for the vectors of a row of `depth` elements, of which the last may be partial.
template <class T, class F>
__attribute__((always_inline)) inline void eachVector(int64_t depth, F&& f) {
  constexpr int width = Vec<T>::width;
  int64_t d = 0;
  for (; d + width <= depth; d += width) f(d, std::integral_constant<int, width>{});
  if (d < depth) f(d, static_cast<int>(depth - d));
}
template <class T, int N>
inline Vec<T> loadLanes(const T* p, std::integral_constant<int, N>) {
  return Vec<T>::load(p);
}
template <class T>
inline Vec<T> loadLanes(const T* p, int n) {
  return Vec<T>::loadPart(p, n);
}
template <class T, int N>
inline void storeLanes(Vec<T> x, T* p, std::integral_constant<int, N>) {
  x.store(p);
}
template <class T>
inline void storeLanes(Vec<T> x, T* p, int n) {
  x.storePart(p, n);
}
/// x in the lanes that exist, 0 in the others.
template <class T, int N>
inline Vec<T> liveLanes(Vec<T> x, std::integral_constant<int, N>) {
  return x;
}
template <class T>
inline Vec<T> liveLanes(Vec<T> x, int n) {
  return x.firstLanes(n);
}

/// to = x, of `depth` elements.
template <class T>
inline void copyRow(const T* x, T* to, int64_t depth) {
  eachVector<T>(depth, [&](int64_t d, auto lanes) { storeLanes(loadLanes(x + d, lanes), to + d, lanes); });
}

/// to = x · scale, of `depth` elements.
template <class T>
inline void scaleRow(const T* x, T scale, T* to, int64_t depth) {
  const Vec<T> factor = Vec<T>::set(scale);
  eachVector<T>(depth, [&](int64_t d, auto lanes) { storeLanes(loadLanes(x + d, lanes) * factor, to + d, lanes); });
}

/// The preparation of q or k in one call; `row` and `grad` work on D elements. What they need of a row meanwhile is kept in
/// whole vectors, which reach the next loop without a detour through the cache.
template <class T>
struct Preparer {
  const Preparation& p;
  int64_t depth;
  T* scratch;  // row: one row of whole vectors; grad: two
  T share = T(1) / static_cast<T>(depth);  // of a mean; a division would be waited for, row after row

  const T* angles(int64_t batch, int64_t token) const {
    return static_cast<const T*>(p.rotary) + batch * p.rotaryBatch + token * p.rotaryToken;
  }

  /// `to` = the prepared row of token `token`, times `scale`.
  void row(const T* from, T* to, int64_t batch, int64_t token, T scale) const {
    if (p.rotateFirst) {
      if (p.rotary) from = rotated(from, to, batch, token, T(1));
      normalize(from, to, scale);
    } else {
      normalize(from, to, scale);
      if (p.rotary) rotated(to, to, batch, token, T(1));
    }
  }

  /// From the cotangent of the prepared row to that of the row x, in place; adds to those of weight and bias, which are rows
  /// of whole vectors.
  void grad(const T* x, T* g, int64_t batch, int64_t token, T* dWeight, T* dBias) const {
    Vec<T> size = Vec<T>::zero();
    eachVector<T>(depth, [&](int64_t d, auto lanes) { size = size + abs(loadLanes(g + d, lanes)); });
    if (size.sum() == T(0)) return;  // a padding row, which may hold NaN
    if (!p.rotateFirst && p.rotary) rotated(g, g, batch, token, T(-1));
    if (p.weight) {
      const T* at = p.rotateFirst && p.rotary ? rotated(x, scratch, batch, token, T(1)) : x;
      normalizeGrad(at, g, dWeight, dBias);
    }
    if (p.rotateFirst && p.rotary) rotated(g, g, batch, token, T(-1));
  }

 private:
  const T* rotated(const T* x, T* to, int64_t batch, int64_t token, T sign) const {
    rotateRow(x, angles(batch, token), to, p.pairs, depth, sign);
    return to;
  }

  // scratch = x - mean; returns 1 / standard deviation.
  T center(const T* x) const {
    Vec<T> sum = Vec<T>::zero(), squares = Vec<T>::zero();
    eachVector<T>(depth, [&](int64_t d, auto lanes) { sum = sum + loadLanes(x + d, lanes); });
    const Vec<T> mean = Vec<T>::set(sum.sum() / static_cast<T>(depth));  // exact for a row of one number
    eachVector<T>(depth, [&](int64_t d, auto lanes) {
      const Vec<T> centered = liveLanes(loadLanes(x + d, lanes) - mean, lanes);
      centered.store(scratch + d);
      squares = fma(centered, centered, squares);
    });
    return T(1) / std::sqrt(squares.sum() * share + static_cast<T>(p.eps));
  }

  void normalize(const T* x, T* to, T scale) const {
    if (!p.weight) return scaleRow(x, scale, to, depth);
    const Vec<T> rstd = Vec<T>::set(center(x)), factor = Vec<T>::set(scale);
    const T* weight = static_cast<const T*>(p.weight);
    const T* bias = static_cast<const T*>(p.bias);
    eachVector<T>(depth, [&](int64_t d, auto lanes) {
      const Vec<T> shift = bias ? loadLanes(bias + d, lanes) : Vec<T>::zero();
      storeLanes(fma(Vec<T>::load(scratch + d) * rstd, loadLanes(weight + d, lanes), shift) * factor, to + d, lanes);
    });
  }

  void normalizeGrad(const T* x, T* g, T* dWeight, T* dBias) const {
    T* const scaledRow = scratch + roundUp(depth, Vec<T>::width);
    const T* weight = static_cast<const T*>(p.weight);
    const Vec<T> rstd = Vec<T>::set(center(x));
    Vec<T> sum = Vec<T>::zero(), along = Vec<T>::zero();
    eachVector<T>(depth, [&](int64_t d, auto lanes) {
      const Vec<T> normed = Vec<T>::load(scratch + d) * rstd, grad = loadLanes(g + d, lanes);
      normed.store(scratch + d);
      fma(grad, normed, Vec<T>::load(dWeight + d)).store(dWeight + d);
      (grad + Vec<T>::load(dBias + d)).store(dBias + d);
      const Vec<T> scaled = grad * loadLanes(weight + d, lanes);
      scaled.store(scaledRow + d);
      sum = sum + scaled;
      along = fma(scaled, normed, along);
    });
    const Vec<T> mean = Vec<T>::set(sum.sum() * share), slope = Vec<T>::set(along.sum() * share);
    eachVector<T>(depth, [&](int64_t d, auto lanes) {
      storeLanes(rstd * (Vec<T>::load(scaledRow + d) - mean - slope * Vec<T>::load(scratch + d)), g + d, lanes);
    });
  }
};

}  // namespace md::masked_attention::MD_ISA
