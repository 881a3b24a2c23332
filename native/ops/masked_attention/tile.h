// Register tiles of the attention kernels. For kernel files only.
#pragma once
#include <cstring>
#include <type_traits>

#include "../../core/dtype.h"
#include "../../isa/simd.h"

namespace md::masked_attention::MD_ISA {

using md::MD_ISA::Vec;

constexpr int kTileRows = 6;  // 6 × 2 accumulators fill the 16 vector registers together with their operands

/// R rows of V vectors, held in registers: acc[r] += Σ_i a[r * aRow + i * aStep] · b[i * bStep …].
template <class T, int R, int V>
struct Tile {
  static constexpr int width = Vec<T>::width;
  Vec<T> acc[R][V];

  __attribute__((always_inline)) void clear() {
    for (int r = 0; r < R; r++)
      for (int v = 0; v < V; v++) acc[r][v] = Vec<T>::zero();
  }
  __attribute__((always_inline)) void load(const T* c, int64_t row) {
    for (int r = 0; r < R; r++)
      for (int v = 0; v < V; v++) acc[r][v] = Vec<T>::load(c + r * row + v * width);
  }
  __attribute__((always_inline)) void store(T* c, int64_t row) const {
    for (int r = 0; r < R; r++)
      for (int v = 0; v < V; v++) acc[r][v].store(c + r * row + v * width);
  }
  __attribute__((always_inline)) void multiply(int64_t depth, const T* a, int64_t aRow, int64_t aStep, const T* b, int64_t bStep) {
    for (int64_t i = 0; i < depth; i++, a += aStep, b += bStep) {
      Vec<T> column[V];
      for (int v = 0; v < V; v++) column[v] = Vec<T>::load(b + v * width);
      for (int r = 0; r < R; r++) {
        const Vec<T> scalar = Vec<T>::set(a[r * aRow]);
        for (int v = 0; v < V; v++) acc[r][v] = fma(scalar, column[v], acc[r][v]);
      }
    }
  }
};

/// f(row, integral_constant<R>) over `rows` rows in tiles of at most Most, as even as they can be: 16 rows are 6 + 5 + 5.
template <int Most, class F>
__attribute__((always_inline)) inline void forTiles(int64_t rows, F&& f) {
  int64_t tiles = (rows + Most - 1) / Most;
  for (int64_t row = 0; tiles > 0; tiles--) {
    const int64_t size = (rows - row + tiles - 1) / tiles;
    switch (size) {
      case 1: f(row, std::integral_constant<int, 1>{}); break;
      case 2: f(row, std::integral_constant<int, 2>{}); break;
      case 3: f(row, std::integral_constant<int, 3>{}); break;
      case 4: f(row, std::integral_constant<int, 4>{}); break;
      case 5: if constexpr (Most >= 5) f(row, std::integral_constant<int, 5>{}); break;
      default: if constexpr (Most >= 6) f(row, std::integral_constant<int, 6>{}); break;
    }
    row += size;
  }
}

/// f(type_identity<float>) or f(type_identity<double>); the op has checked the dtype.
template <class F>
inline decltype(auto) withType(DType dtype, F&& f) {
  return dtype == DType::f32 ? f(std::type_identity<float>{}) : f(std::type_identity<double>{});
}

inline int64_t roundUp(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

}  // namespace md::masked_attention::MD_ISA
