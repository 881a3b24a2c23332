// The register tile of a product and what becomes of its sums. For kernel files only.
#pragma once
#include "../../isa/activations.h"
#include "../../isa/vectors.h"
#include "op.h"

namespace md::matmul::MD_ISA {
namespace {

using md::MD_ISA::Vec;

template <class T>
constexpr int kWidth = Vec<T>::width;
// Accumulators, a panel's vectors of B and one of A: 4 x 3 in 16 registers, 14 x 2 in 32. Of tiles of 12 vectors it loads least:
// loads are what multiply-adds leave least room for.
constexpr int kPanelVectors = md::MD_ISA::kRegisters > 16 ? 2 : 3;
constexpr int kTileRows = (md::MD_ISA::kRegisters - kPanelVectors - 1) / kPanelVectors;
/// Vectors a row that fill the registers with fewer rows.
constexpr int wideTile(int rows) {
  const int vectors = (md::MD_ISA::kRegisters - 2) / rows / kPanelVectors * kPanelVectors, most = 9 / kPanelVectors * kPanelVectors;
  return vectors < most ? vectors : most;
}
template <class T>
constexpr int kPanel = kPanelVectors * kWidth<T>;

/// x = f(x), and of what it was the derivative, where that is not null.
template <class T, class F, class G>
void activateBy(T* x, T* derivative, int64_t n, F f, G gradient) {
  if (!derivative) return md::MD_ISA::mapVectors(x, x, n, f);
  md::MD_ISA::forVectors<T>(n, [&](int64_t i, int lanes) {
    const Vec<T> v = md::MD_ISA::loadLanes(x + i, lanes);
    md::MD_ISA::storeLanes(gradient(v), derivative + i, lanes);
    md::MD_ISA::storeLanes(f(v), x + i, lanes);
  });
}

template <class T>
void activate(Activation activation, T* x, T* derivative, int64_t n) {
  using V = Vec<T>;
  switch (activation) {
    case Activation::relu: return activateBy(x, derivative, n, [](V v) { return reluOf(v); }, [](V v) { return reluGradOf(v); });
    case Activation::gelu: return activateBy(x, derivative, n, [](V v) { return geluOf(v); }, [](V v) { return geluGradOf(v); });
    case Activation::geluTanh: return activateBy(x, derivative, n, [](V v) { return geluTanhOf(v); }, [](V v) { return geluTanhGradOf(v); });
    case Activation::silu: return activateBy(x, derivative, n, [](V v) { return siluOf(v); }, [](V v) { return siluGradOf(v); });
    default: return;
  }
}

/// What becomes of the sums of a tile. `add`: C holds an earlier part of them; `last`: they are complete.
template <class T>
struct Finish {
  T* c;
  int64_t cRow, cCol;
  T alpha;
  const T* bias;
  int64_t biasRow, biasCol;
  Activation activation;
  T* derivative;
  const T* residual;
  bool add, last = true;

  explicit Finish(const GemmArgs& g)
      : c(static_cast<T*>(g.c)), cRow(g.cRow), cCol(g.cCol), alpha(static_cast<T>(g.alpha)), bias(static_cast<const T*>(g.bias)),
        biasRow(g.biasRow), biasCol(g.biasCol), activation(g.activation), derivative(static_cast<T*>(g.derivative)),
        residual(static_cast<const T*>(g.residual)), add(g.accumulate) {}

  static constexpr int64_t kMostColumns = 256;  // that general() takes

  bool rowMajor() const { return cCol == 1 && (!bias || biasCol == 1); }

  /// Any layout: rows x cols sums at x, rows `ld` apart, that belong at (i, j).
  void general(T* x, int64_t ld, int64_t rows, int64_t cols, int64_t i, int64_t j) const {
    alignas(64) T slopes[kMostColumns];
    for (int64_t r = 0; r < rows; r++) {
      T* row = x + r * ld;
      T* to = c + (i + r) * cRow + j * cCol;
      for (int64_t s = 0; s < cols; s++) row[s] *= alpha;
      if (add) {
        for (int64_t s = 0; s < cols; s++) row[s] += to[s * cCol];
      }
      if (last && bias) {
        for (int64_t s = 0; s < cols; s++) row[s] += bias[(i + r) * biasRow + (j + s) * biasCol];
      }
      if (last) activate(activation, row, derivative ? slopes : nullptr, cols);
      if (last && derivative) {
        for (int64_t s = 0; s < cols; s++) derivative[(i + r) * cRow + (j + s) * cCol] = slopes[s];
      }
      if (last && residual) {
        for (int64_t s = 0; s < cols; s++) row[s] += residual[(i + r) * cRow + (j + s) * cCol];
      }
      for (int64_t s = 0; s < cols; s++) to[s * cCol] = row[s];
    }
  }
};

// WHOLE says at compile time that all lanes exist.
template <bool WHOLE, class T>
inline Vec<T> loadColumns(const T* p, int n) {
  return WHOLE ? Vec<T>::load(p) : md::MD_ISA::loadLanes(p, n);
}
template <bool WHOLE, class T>
inline void storeColumns(Vec<T> x, T* p, int n) {
  if (WHOLE) {
    x.store(p);
  } else {
    md::MD_ISA::storeLanes(x, p, n);
  }
}

/// Scales, adds, biases, activates, adds the residual and stores a tile of a row-major C at (i, j) straight from its registers.
template <bool WHOLE, class T, int ROWS, int VECTORS>
inline __attribute__((always_inline)) void finishTile(const Finish<T>& f, Vec<T> (&acc)[ROWS][VECTORS], int64_t i, int64_t j, int cols) {
  constexpr int W = kWidth<T>;
  T* const to = f.c + i * f.cRow + j;
  if (f.alpha != T(1)) {
    const Vec<T> alpha = Vec<T>::set(f.alpha);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 16
      for (int v = 0; v < VECTORS; v++) acc[r][v] = acc[r][v] * alpha;
    }
  }
  if (f.add) {
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 16
      for (int v = 0; v < VECTORS; v++) acc[r][v] = acc[r][v] + loadColumns<WHOLE>(to + r * f.cRow + v * W, cols - v * W);
    }
  }
  if (f.last && f.bias) {
#pragma GCC unroll 16
    for (int v = 0; v < VECTORS; v++) {
      const Vec<T> bias = loadColumns<WHOLE>(f.bias + j + v * W, cols - v * W);
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; r++) acc[r][v] = acc[r][v] + bias;
    }
  }
  if (f.last && f.activation != Activation::none) {
    alignas(64) T buffer[ROWS * VECTORS * W], slopes[ROWS * VECTORS * W];
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 16
      for (int v = 0; v < VECTORS; v++) acc[r][v].store(buffer + (r * VECTORS + v) * W);
    }
    activate(f.activation, buffer, f.derivative ? slopes : nullptr, ROWS * VECTORS * W);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 16
      for (int v = 0; v < VECTORS; v++) {
        acc[r][v] = Vec<T>::load(buffer + (r * VECTORS + v) * W);
        if (f.derivative) storeColumns<WHOLE>(Vec<T>::load(slopes + (r * VECTORS + v) * W), f.derivative + (i + r) * f.cRow + j + v * W, cols - v * W);
      }
    }
  }
  if (f.last && f.residual) {
    const T* const residual = f.residual + i * f.cRow + j;
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 16
      for (int v = 0; v < VECTORS; v++) acc[r][v] = acc[r][v] + loadColumns<WHOLE>(residual + r * f.cRow + v * W, cols - v * W);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 16
    for (int v = 0; v < VECTORS; v++) storeColumns<WHOLE>(acc[r][v], to + r * f.cRow + v * W, cols - v * W);
  }
}

/// Where a tile reads: A by element strides; vector v of B at b + (v / kPanelVectors) · panel + (v % kPanelVectors) · width, step k
/// at k · bStep. At step k it asks for what a later tile reads of A, ahead + k · aheadStep; the next tile begins aheadTile after
/// this one.
template <class T>
struct Source {
  const T* a;
  int64_t aRow, aStep;
  const T* b;
  int64_t bStep, panel;
  const T* ahead;
  int64_t aheadStep = 0, aheadTile = 0;
};

/// ROWS x VECTORS registers of C over `depth` steps; `cols` of the columns exist.
template <class T, int ROWS, int VECTORS>
void tile(const Finish<T>& f, const Source<T>& from, int64_t depth, int64_t i, int64_t j, int cols) {
  constexpr int W = kWidth<T>;
  Vec<T> acc[ROWS][VECTORS];
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 16
    for (int v = 0; v < VECTORS; v++) acc[r][v] = Vec<T>::zero();
  }
  const T* a = from.a;
  const T* b = from.b;
  const int64_t aRow = from.aRow, aStep = from.aStep, bStep = from.bStep, panel = from.panel, aheadStep = from.aheadStep;
  const T* ahead = from.ahead;
#pragma GCC unroll 4
  for (int64_t k = 0; k < depth; k++, a += aStep, b += bStep, ahead += aheadStep) {
    __builtin_prefetch(ahead);
    Vec<T> right[VECTORS];
#pragma GCC unroll 16
    for (int v = 0; v < VECTORS; v++) right[v] = Vec<T>::load(b + (v / kPanelVectors) * panel + (v % kPanelVectors) * W);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      const Vec<T> left = Vec<T>::set(a[r * aRow]);
#pragma GCC unroll 16
      for (int v = 0; v < VECTORS; v++) acc[r][v] = addProduct(acc[r][v], left, right[v]);
    }
  }
  if (!f.rowMajor()) {
    static_assert(VECTORS * W <= Finish<T>::kMostColumns);
    alignas(64) T sums[ROWS * VECTORS * W];
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 16
      for (int v = 0; v < VECTORS; v++) acc[r][v].store(sums + (r * VECTORS + v) * W);
    }
    f.general(sums, VECTORS * W, ROWS, cols, i, j);
  } else if (cols == VECTORS * W) {
    finishTile<true>(f, acc, i, j, cols);
  } else {
    finishTile<false>(f, acc, i, j, cols);
  }
}

}  // namespace
}  // namespace md::matmul::MD_ISA
