// Products of few columns or few rows: dot products along k. For kernel files only.
#pragma once
#include "tile.h"

namespace md::matmul::MD_ISA {
namespace {

// Dot products: up to 12 rows where k is deep enough to repay summing their lanes, else up to 3; and up to 4 columns.
constexpr int64_t kDotRows = 12, kShallowDotRows = 3, kDeepDots = 128, kDotCols = 4, kDotDepth = 24;


/// ROWS x COLS dot products of k-contiguous rows of A and columns of B, their lanes summed at the end.
template <class T, int ROWS, int COLS>
void dotTile(const Finish<T>& f, int64_t depth, const T* a, int64_t aRow, const T* b, int64_t bCol, int64_t i, int64_t j) {
  constexpr int W = kWidth<T>;
  Vec<T> acc[ROWS][COLS];
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 16
    for (int s = 0; s < COLS; s++) acc[r][s] = Vec<T>::zero();
  }
  const auto step = [&](int64_t k, auto load) __attribute__((always_inline)) {
    Vec<T> left[ROWS];
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) left[r] = load(a + r * aRow + k);
#pragma GCC unroll 16
    for (int s = 0; s < COLS; s++) {
      const Vec<T> right = load(b + s * bCol + k);
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; r++) acc[r][s] = fma(left[r], right, acc[r][s]);
    }
  };
  int64_t k = 0;
  for (; k + W <= depth; k += W) step(k, [](const T* p) __attribute__((always_inline)) { return Vec<T>::load(p); });
  const int rest = static_cast<int>(depth - k);
  if (rest > 0) step(k, [rest](const T* p) __attribute__((always_inline)) { return Vec<T>::loadPart(p, rest); });
  T sums[ROWS * COLS];
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 16
    for (int s = 0; s < COLS; s++) sums[r * COLS + s] = acc[r][s].sum();
  }
  f.general(sums, COLS, ROWS, COLS, i, j);
}

/// `count` vectors of length `depth` with any strides, made contiguous one after another.
template <class T>
void packVectors(const T* x, int64_t stride, int64_t step, int64_t count, int64_t depth, T* out) {
  for (int64_t i = 0; i < count; i++) {
    for (int64_t k = 0; k < depth; k++) out[i * depth + k] = x[i * stride + k * step];
  }
}

bool usesDots(const GemmArgs& g) {
  const int64_t rows = g.k < kDeepDots ? kShallowDotRows : kDotRows;
  return g.k >= kDotDepth && ((g.n <= kDotCols && g.aCol == 1) || (g.m <= rows && g.bRow == 1));
}

template <class T, int ROWS, int COLS>
void dotRows(const Finish<T>& f, const GemmArgs& g, const T* a, int64_t aRow, const T* b, int64_t bCol, int64_t i) {
  int64_t j = 0;
  for (; j + COLS <= g.n; j += COLS) dotTile<T, ROWS, COLS>(f, g.k, a + i * aRow, aRow, b + j * bCol, bCol, i, j);
  for (; j < g.n; j++) dotTile<T, ROWS, 1>(f, g.k, a + i * aRow, aRow, b + j * bCol, bCol, i, j);
}

template <class T>
void dots(const GemmArgs& g, T* scratch) {
  Finish<T> f(g);
  // Rows of C are activated whole, in full vectors; what is added to that waits for it.
  const bool wholeRows = g.cCol == 1 && g.activation != Activation::none;
  if (wholeRows) {
    f.activation = Activation::none;
    f.derivative = nullptr;
    f.residual = nullptr;
  }
  const T* a = static_cast<const T*>(g.a);
  const T* b = static_cast<const T*>(g.b);
  int64_t aRow = g.aRow, bCol = g.bCol;
  if (g.aCol != 1) {
    packVectors(a, g.aRow, g.aCol, g.m, g.k, scratch);
    a = scratch;
    aRow = g.k;
    scratch += g.m * g.k;
  }
  if (g.bRow != 1) {
    packVectors(b, g.bCol, g.bRow, g.n, g.k, scratch);
    b = scratch;
    bCol = g.k;
  }
  int64_t i = 0;
  for (; i + 4 <= g.m; i += 4) dotRows<T, 4, 3>(f, g, a, aRow, b, bCol, i);
  switch (g.m - i) {
    case 3: dotRows<T, 3, 4>(f, g, a, aRow, b, bCol, i); break;
    case 2: dotRows<T, 2, 6>(f, g, a, aRow, b, bCol, i); break;
    case 1: dotRows<T, 1, 8>(f, g, a, aRow, b, bCol, i); break;
  }
  if (!wholeRows) return;
  for (int64_t r = 0; r < g.m; r++) {
    T* const row = f.c + r * f.cRow;
    activate(g.activation, row, g.derivative ? static_cast<T*>(g.derivative) + r * f.cRow : nullptr, g.n);
    if (!g.residual) continue;
    const T* const residual = static_cast<const T*>(g.residual) + r * f.cRow;
    for (int64_t s = 0; s < g.n; s++) row[s] += residual[s];
  }
}

}  // namespace
}  // namespace md::matmul::MD_ISA
