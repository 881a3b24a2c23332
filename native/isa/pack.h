// Columns of a matrix made contiguous for a kernel that sweeps them.
#pragma once
#include "simd.h"

namespace md::MD_ISA {

/// Rows [0, depth) of fewer than VECTORS vectors of adjacent columns; zero beyond the last column.
template <int VECTORS, class T>
void packRagged(const T* from, int64_t rowStride, int64_t depth, int64_t columns, T* out) {
  constexpr int W = Vec<T>::width, P = VECTORS * W;
  for (int64_t k = 0; k < depth; k++, from += rowStride, out += P) {
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) {
      const int64_t n = columns - v * W;
      (n >= W ? Vec<T>::load(from + v * W) : n > 0 ? Vec<T>::loadPart(from + v * W, static_cast<int>(n)) : Vec<T>::zero()).store(out + v * W);
    }
  }
}

/// PANELS panels of VECTORS vectors of adjacent columns, [panel][depth][VECTORS vectors], row by row: whole stretches of lines.
template <int VECTORS, int PANELS, class T>
void packPanels(const T* from, int64_t rowStride, int64_t depth, T* out) {
  constexpr int W = Vec<T>::width, P = VECTORS * W;
#pragma GCC unroll 4
  for (int64_t k = 0; k < depth; k++, from += rowStride, out += P) {
#pragma GCC unroll 16
    for (int panel = 0; panel < PANELS; panel++) {
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; v++) Vec<T>::load(from + panel * P + v * W).store(out + panel * depth * P + v * W);
    }
  }
}

/// W columns of `steps` adjacent elements each, as `steps` rows of W, `stride` apart.
template <bool WHOLE, class T>
inline void packTurned(const T* from, int64_t columnStride, int steps, int64_t columns, T* out, int64_t stride) {
  constexpr int W = Vec<T>::width;
  Vec<T> rows[W];
#pragma GCC unroll 16
  for (int s = 0; s < W; s++) {
    const T* column = from + s * columnStride;
    rows[s] = WHOLE ? Vec<T>::load(column) : s >= columns ? Vec<T>::zero() : steps == W ? Vec<T>::load(column) : Vec<T>::loadPart(column, steps);
  }
  transpose(rows);
#pragma GCC unroll 16
  for (int s = 0; s < W; s++) {
    if (WHOLE || s < steps) rows[s].store(out + s * stride);
  }
}

/// Up to VECTORS vectors of columns of a [depth, columns] matrix with any strides, as [depth][VECTORS vectors]; zero beyond
/// the last column.
template <int VECTORS, class T>
void packPanel(const T* from, int64_t rowStride, int64_t columnStride, int64_t depth, int64_t columns, T* out) {
  constexpr int W = Vec<T>::width, P = VECTORS * W;
  if (columnStride == 1) {
    if (columns >= P) return packPanels<VECTORS, 1>(from, rowStride, depth, out);
    packRagged<VECTORS>(from, rowStride, depth, columns, out);
  } else if (rowStride == 1) {
    for (int64_t k = 0; k < depth; k += W) {
      const int steps = static_cast<int>(depth - k < W ? depth - k : W);
      for (int v = 0; v < VECTORS; v++) {
        const T* const block = from + v * W * columnStride + k;
        T* const to = out + k * P + v * W;
        if (steps == W && columns >= (v + 1) * W) {
          packTurned<true>(block, columnStride, W, W, to, P);
        } else {
          packTurned<false>(block, columnStride, steps, columns - v * W, to, P);
        }
      }
    }
  } else {
    for (int64_t k = 0; k < depth; k++) {
      for (int s = 0; s < P; s++) out[k * P + s] = s < columns ? from[k * rowStride + s * columnStride] : T(0);
    }
  }
}

}  // namespace md::MD_ISA
