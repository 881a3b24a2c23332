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

/// Lane r: the sum of rows[r], which are spent.
template <class T>
inline Vec<T> sumsOf(Vec<T> (&rows)[Vec<T>::width]) {
  transpose(rows);
#pragma GCC unroll 4
  for (int step = Vec<T>::width / 2; step > 0; step /= 2) {
    for (int r = 0; r < step; r++) rows[r] = rows[r] + rows[r + step];
  }
  return rows[0];
}

/// The preparation of q or k in one call, for as many rows at once as a vector has lanes. Norms are computed on their columns, a
/// lane for each row: no sum goes across lanes, whatever the head size, and a row's numbers do not depend on the others.
template <class T>
struct Preparer {
  static constexpr int width = Vec<T>::width;
  using Group = const T* const (&)[width];

  const Preparation& p;
  int64_t depth;
  T* scratch;  // elementsOf(depth), for rows() where there is a weight

  static int64_t elementsOf(int64_t depth) { return roundUp(depth, width) * width; }
  static int64_t gradElements(int64_t depth) { return 3 * elementsOf(depth) + roundUp(depth, width); }

  /// to[i] = the prepared row of token `first` + i, times `scale`; rows of `to` are `step` apart.
  void rows(const Rows& from, int64_t batch, int64_t head, int64_t first, int64_t count, T* to, int64_t step, T scale) const {
    for (int64_t i = 0; i < count; i += width) {
      const int64_t live = count - i < width ? count - i : width;
      T* const out = to + i * step;
      const T* x[width];
      for (int64_t r = 0; r < width; r++) {
        x[r] = from.at<T>(batch, head, first + i + (r < live ? r : 0));
        from.expectNext(x[r], depth);
      }
      if (p.rotary && p.rotateFirst) {
        for (int64_t r = 0; r < live; r++) x[r] = rotated(x[r], out + r * step, batch, first + i + r, T(1));
        for (int64_t r = live; r < width; r++) x[r] = out;
      }
      if (p.weight) {
        normalize(x, scale);
        toRows(scratch, live, [=](int64_t r) { return out + r * step; });
      } else {
        for (int64_t r = 0; r < live; r++) scaleRow(x[r], scale, out + r * step, depth);
      }
      if (p.rotary && !p.rotateFirst) {
        for (int64_t r = 0; r < live; r++) rotated(out + r * step, out + r * step, batch, first + i + r, T(1));
      }
    }
  }

  /// From the cotangents of prepared rows to those of rows x, in place; adds to those of weight and bias, whose columns have a lane
  /// for each row. `count` <= width rows of the tokens `token` of `batch`; `space` has gradElements(depth).
  void grad(const T* (&x)[width], T* (&g)[width], int64_t count, const int64_t (&batch)[width], const int64_t (&token)[width], T* dWeight,
            T* dBias, T* space) const {
    T* const xs = space + elementsOf(depth);
    T* const gs = xs + elementsOf(depth);
    T* const zeros = gs + elementsOf(depth);
    std::memset(zeros, 0, static_cast<size_t>(depth) * sizeof(T));
    const T* grads[width];
    for (int64_t r = 0; r < width; r++) grads[r] = r < count ? g[r] : zeros;
    toColumns(grads, gs);
    // Without a gradient there is nothing to do: a padding row, of which the row and its rotation may hold NaN.
    alignas(64) T sizes[width];
    sumOver([&](int64_t d) { return abs(Vec<T>::load(gs + d * width)); }).store(sizes);
    const auto turn = [&](T sign) {
      for (int64_t r = 0; r < count; r++) {
        if (sizes[r] != T(0)) rotated(g[r], g[r], batch[r], token[r], sign);
      }
    };
    if (p.rotary && !p.rotateFirst) turn(T(-1));
    if (p.weight) {
      if (p.rotary && !p.rotateFirst) toColumns(grads, gs);
      for (int64_t r = 0; r < width; r++) {
        if (sizes[r] == T(0)) {
          x[r] = zeros;
        } else if (p.rotary && p.rotateFirst) {
          x[r] = rotated(x[r], space + r * roundUp(depth, width), batch[r], token[r], T(1));
        }
      }
      toColumns(x, xs);
      normalizeGrad(xs, gs, dWeight, dBias);
      toRows(gs, count, [&](int64_t r) { return g[r]; });
    }
    if (p.rotary && p.rotateFirst) turn(T(-1));
  }

 private:
  struct Moments {
    Vec<T> mean, rstd;  // 1 / standard deviation
  };

  const T* rotated(const T* x, T* to, int64_t batch, int64_t token, T sign) const {
    const T* const angles = static_cast<const T*>(p.rotary) + batch * p.rotaryBatch + token * p.rotaryToken;
    rotateRow(x, angles, to, p.pairs, depth, sign);
    return to;
  }

  /// columns[d · width + r] = x[r][d]
  void toColumns(Group x, T* columns) const {
    eachVector<T>(depth, [&](int64_t d, auto lanes) {
      Vec<T> block[width];
#pragma GCC unroll 16
      for (int r = 0; r < width; r++) block[r] = loadLanes(x[r] + d, lanes);
      transpose(block);
#pragma GCC unroll 16
      for (int s = 0; s < width; s++) block[s].store(columns + (d + s) * width);
    });
  }
  /// to(r)[d] = columns[d · width + r] for r < count
  template <class F>
  void toRows(const T* columns, int64_t count, F&& to) const {
    eachVector<T>(depth, [&](int64_t d, auto lanes) {
      Vec<T> block[width];
#pragma GCC unroll 16
      for (int s = 0; s < width; s++) block[s] = Vec<T>::load(columns + (d + s) * width);
      transpose(block);
#pragma GCC unroll 16
      for (int r = 0; r < width; r++) {
        if (r < count) storeLanes(block[r], to(r) + d, lanes);
      }
    });
  }

  /// f(0) + … + f(depth - 1)
  template <class F>
  __attribute__((always_inline)) Vec<T> sumOver(F&& f) const {
    Vec<T> even = Vec<T>::zero(), odd = even;
    int64_t d = 0;
    for (; d + 2 <= depth; d += 2) {
      even = even + f(d);
      odd = odd + f(d + 1);
    }
    if (d < depth) even = even + f(d);
    return even + odd;
  }

  Moments moments(const T* columns) const {
    const Vec<T> size = Vec<T>::set(static_cast<T>(depth));
    const Vec<T> mean = sumOver([&](int64_t d) { return Vec<T>::load(columns + d * width); }) / size;  // exact for a head of one element
    const Vec<T> squares = sumOver([&](int64_t d) {
      const Vec<T> centered = Vec<T>::load(columns + d * width) - mean;
      return centered * centered;
    });
    alignas(64) T rstd[width];
    (squares / size).store(rstd);
    for (T& r : rstd) r = T(1) / std::sqrt(r + static_cast<T>(p.eps));
    return {mean, Vec<T>::load(rstd)};
  }

  /// scratch = the normed columns of x, times `scale`.
  void normalize(Group x, T scale) const {
    toColumns(x, scratch);
    const auto [mean, rstd] = moments(scratch);
    const T* const weight = static_cast<const T*>(p.weight);
    const T* const bias = static_cast<const T*>(p.bias);
    const Vec<T> factor = Vec<T>::set(scale);
    for (int64_t d = 0; d < depth; d++) {
      const Vec<T> normed = (Vec<T>::load(scratch + d * width) - mean) * rstd, shift = bias ? Vec<T>::set(bias[d]) : Vec<T>::zero();
      (fma(normed, Vec<T>::set(weight[d]), shift) * factor).store(scratch + d * width);
    }
  }

  /// Columns gs of cotangents become those before the norm, columns xs the normed ones.
  void normalizeGrad(T* xs, T* gs, T* dWeight, T* dBias) const {
    const auto [mean, rstd] = moments(xs);
    const T* const weight = static_cast<const T*>(p.weight);
    Vec<T> sum = Vec<T>::zero(), along = sum;
    for (int64_t d = 0; d < depth; d++) {
      const int64_t at = d * width;
      const Vec<T> grad = Vec<T>::load(gs + at), normed = (Vec<T>::load(xs + at) - mean) * rstd, scaled = grad * Vec<T>::set(weight[d]);
      fma(grad, normed, Vec<T>::load(dWeight + at)).store(dWeight + at);
      (Vec<T>::load(dBias + at) + grad).store(dBias + at);
      sum = sum + scaled;
      along = fma(scaled, normed, along);
      normed.store(xs + at);
      scaled.store(gs + at);
    }
    const Vec<T> size = Vec<T>::set(static_cast<T>(depth)), shift = sum / size, slope = along / size;
    for (int64_t at = 0; at < depth * width; at += width)
      (rstd * (Vec<T>::load(gs + at) - shift - slope * Vec<T>::load(xs + at))).store(gs + at);
  }
};

}  // namespace md::masked_attention::MD_ISA
