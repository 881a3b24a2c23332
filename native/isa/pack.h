// Columns of a matrix made contiguous for a kernel that sweeps them.
#pragma once
#include "simd.h"

namespace md::MD_ISA {

/// Up to VECTORS vectors of columns of a [depth, columns] matrix with any strides, as [depth][VECTORS vectors]; zero beyond
/// the last column.
template <int VECTORS, class T>
void packPanel(const T* from, int64_t rowStride, int64_t columnStride, int64_t depth, int64_t columns, T* out) {
  constexpr int W = Vec<T>::width, P = VECTORS * W;
  if (columnStride == 1) {
    for (int64_t k = 0; k < depth; k++, from += rowStride, out += P) {
      for (int v = 0; v < VECTORS; v++) {
        const int64_t n = columns - v * W;
        (n >= W ? Vec<T>::load(from + v * W) : n > 0 ? Vec<T>::loadPart(from + v * W, static_cast<int>(n)) : Vec<T>::zero()).store(out + v * W);
      }
    }
  } else if (rowStride == 1) {
    for (int64_t k = 0; k < depth; k += W) {
      const int steps = static_cast<int>(depth - k < W ? depth - k : W);
      for (int v = 0; v < VECTORS; v++) {
        Vec<T> rows[W];
#pragma GCC unroll 16
        for (int s = 0; s < W; s++) {
          const T* column = from + (v * W + s) * columnStride + k;
          rows[s] = v * W + s >= columns ? Vec<T>::zero() : steps == W ? Vec<T>::load(column) : Vec<T>::loadPart(column, steps);
        }
        transpose(rows);
#pragma GCC unroll 16
        for (int s = 0; s < W; s++) {
          if (s < steps) rows[s].store(out + (k + s) * P + v * W);
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
