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

/// The preparation of q or k in one call, for as many rows at once as a vector has lanes: what a row's sums, root and quotients
/// would have to wait for is waited for once. Rows are of `depth` elements, and a row's numbers do not depend on the others.
template <class T>
struct Preparer {
  static constexpr int width = Vec<T>::width;
  using Group = const T* const (&)[width];

  const Preparation& p;
  int64_t depth;
  T share = T(1) / static_cast<T>(depth);  // of a mean

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
      normalize(x, live, scale, out, step);
      if (p.rotary && !p.rotateFirst) {
        for (int64_t r = 0; r < live; r++) rotated(out + r * step, out + r * step, batch, first + i + r, T(1));
      }
    }
  }

  /// From the cotangents of prepared rows to those of rows x, in place; adds to those of weight and bias, which are rows of whole
  /// vectors. `count` <= width rows of the tokens `token` of `batch`; `scratch` is width + 1 rows of whole vectors.
  void grad(const T* (&x)[width], T* (&g)[width], int64_t count, const int64_t (&batch)[width], const int64_t (&token)[width], T* dWeight,
            T* dBias, T* scratch) const {
    const int64_t padded = roundUp(depth, width);
    T* const zeros = scratch + width * padded;
    std::memset(zeros, 0, static_cast<size_t>(depth) * sizeof(T));
    // Without one there is nothing to do: a padding row, of which the row and its rotation may hold NaN.
    const Lanes sizes = lanesOf([&](int r) {
      Vec<T> size = Vec<T>::zero();
      if (r < count) eachVector<T>(depth, [&](int64_t d, auto lanes) { size = size + abs(loadLanes(g[r] + d, lanes)); });
      return size;
    });
    const auto turn = [&](T sign) {
      for (int64_t r = 0; r < count; r++) {
        if (sizes.at[r] != T(0)) rotated(g[r], g[r], batch[r], token[r], sign);
      }
    };
    if (p.rotary && !p.rotateFirst) turn(T(-1));
    if (p.weight) {
      for (int64_t r = 0; r < width; r++) {
        if (r >= count) g[r] = zeros;
        if (sizes.at[r] == T(0)) {
          x[r] = zeros;
        } else if (p.rotary && p.rotateFirst) {
          x[r] = rotated(x[r], scratch + r * padded, batch[r], token[r], T(1));
        }
      }
      normalizeGrad(x, g, count, dWeight, dBias);
    }
    if (p.rotary && p.rotateFirst) turn(T(-1));
  }

 private:
  struct Lanes {
    alignas(64) T at[width];
  };
  struct Moments {
    Lanes mean, rstd;  // 1 / standard deviation
  };

  const T* rotated(const T* x, T* to, int64_t batch, int64_t token, T sign) const {
    const T* const angles = static_cast<const T*>(p.rotary) + batch * p.rotaryBatch + token * p.rotaryToken;
    rotateRow(x, angles, to, p.pairs, depth, sign);
    return to;
  }

  /// The sums of the vectors f(0), …, f(width - 1).
  template <class F>
  static __attribute__((always_inline)) Lanes lanesOf(F&& f) {
    Vec<T> rows[width];
#pragma GCC unroll 16
    for (int r = 0; r < width; r++) rows[r] = f(r);
    Lanes sums;
    sumsOf(rows).store(sums.at);
    return sums;
  }

  Moments momentsOf(Group x) const {
    Lanes mean = lanesOf([&](int r) {
      Vec<T> sum = Vec<T>::zero();
      eachVector<T>(depth, [&](int64_t d, auto lanes) { sum = sum + loadLanes(x[r] + d, lanes); });
      return sum;
    });
    for (T& m : mean.at) m /= static_cast<T>(depth);  // exact for a row of one number
    Lanes rstd = lanesOf([&](int r) {
      Vec<T> squares = Vec<T>::zero();
      const Vec<T> center = Vec<T>::set(mean.at[r]);
      eachVector<T>(depth, [&](int64_t d, auto lanes) {
        const Vec<T> centered = liveLanes(loadLanes(x[r] + d, lanes) - center, lanes);
        squares = fma(centered, centered, squares);
      });
      return squares;
    });
    for (T& r : rstd.at) r = T(1) / std::sqrt(r * share + static_cast<T>(p.eps));
    return {mean, rstd};
  }

  void normalize(Group x, int64_t count, T scale, T* to, int64_t step) const {
    if (!p.weight) {
      for (int64_t r = 0; r < count; r++) scaleRow(x[r], scale, to + r * step, depth);
      return;
    }
    const Moments moments = momentsOf(x);
    const T* const weight = static_cast<const T*>(p.weight);
    const T* const bias = static_cast<const T*>(p.bias);
    const Vec<T> factor = Vec<T>::set(scale);
    for (int64_t r = 0; r < count; r++) {
      const Vec<T> center = Vec<T>::set(moments.mean.at[r]), narrow = Vec<T>::set(moments.rstd.at[r]);
      eachVector<T>(depth, [&](int64_t d, auto lanes) {
        const Vec<T> shift = bias ? loadLanes(bias + d, lanes) : Vec<T>::zero();
        storeLanes(fma((loadLanes(x[r] + d, lanes) - center) * narrow, loadLanes(weight + d, lanes), shift) * factor, to + r * step + d, lanes);
      });
    }
  }

  void normalizeGrad(Group x, T* const (&g)[width], int64_t count, T* dWeight, T* dBias) const {
    const Moments moments = momentsOf(x);
    const T* const weight = static_cast<const T*>(p.weight);
    const auto normed = [&](int64_t r, int64_t d, auto lanes) __attribute__((always_inline)) {
      return (loadLanes(x[r] + d, lanes) - Vec<T>::set(moments.mean.at[r])) * Vec<T>::set(moments.rstd.at[r]);
    };
    const auto scaled = [&](int64_t r, int64_t d, auto lanes) __attribute__((always_inline)) { return loadLanes(g[r] + d, lanes) * loadLanes(weight + d, lanes); };
    const Lanes sum = lanesOf([&](int r) {
      Vec<T> total = Vec<T>::zero();
      eachVector<T>(depth, [&](int64_t d, auto lanes) { total = total + scaled(r, d, lanes); });
      return total;
    });
    const Lanes along = lanesOf([&](int r) {
      Vec<T> total = Vec<T>::zero();
      eachVector<T>(depth, [&](int64_t d, auto lanes) { total = fma(scaled(r, d, lanes), normed(r, d, lanes), total); });
      return total;
    });
    eachVector<T>(depth, [&](int64_t d, auto lanes) {
      Vec<T> ofWeight = Vec<T>::load(dWeight + d), ofBias = Vec<T>::load(dBias + d);
      for (int64_t r = 0; r < count; r++) {
        const Vec<T> grad = loadLanes(g[r] + d, lanes);
        ofWeight = fma(grad, normed(r, d, lanes), ofWeight);
        ofBias = ofBias + grad;
      }
      ofWeight.store(dWeight + d);
      ofBias.store(dBias + d);
    });
    for (int64_t r = 0; r < count; r++) {
      const Vec<T> shift = Vec<T>::set(sum.at[r] * share), slope = Vec<T>::set(along.at[r] * share), narrow = Vec<T>::set(moments.rstd.at[r]);
      eachVector<T>(depth, [&](int64_t d, auto lanes) { storeLanes(narrow * (scaled(r, d, lanes) - shift - slope * normed(r, d, lanes)), g[r] + d, lanes); });
    }
  }
};

}  // namespace md::masked_attention::MD_ISA
