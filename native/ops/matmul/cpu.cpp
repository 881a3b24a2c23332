// Goto's GEMM (Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", 2008): panels of B are packed
// for the caches and a register tile of C is swept over them. A is read in place where its rows are contiguous, B too
// where few rows would not repay its packing; products with few columns or rows are dot products along k.
#include "../../isa/activations.h"
#include "../../isa/pack.h"
#include "../../isa/simd.h"
#include "op.h"

namespace md::matmul::MD_ISA {
namespace {

using md::MD_ISA::Vec;

template <class T>
constexpr int kWidth = Vec<T>::width;
constexpr int kPanelVectors = 2;
// Accumulators, two vectors of B and one of A: 6 x 2 in 16 registers, 14 x 2 in 32.
constexpr int kTileRows = (md::MD_ISA::kRegisters - kPanelVectors - 1) / kPanelVectors;
/// Vectors a row that fill the registers with fewer rows.
constexpr int wideTile(int rows) {
  const int vectors = (md::MD_ISA::kRegisters - 2) / rows / kPanelVectors * kPanelVectors;
  return vectors < 8 ? vectors : 8;
}
template <class T>
constexpr int kPanel = kPanelVectors * kWidth<T>;
constexpr int64_t kDepth = 256;                // k block: a panel of B stays in the first-level cache
constexpr int64_t kRowBlock = 24 * kTileRows;  // rows of A that stay in the second-level cache
constexpr int64_t kColBlock = 768;             // columns of B packed at a time
constexpr int64_t kDirectRows = 2 * kTileRows; // up to here packing B costs more than it saves
constexpr int64_t kDirectCols = 32;            // up to here packing A does
// Dot products: up to 12 rows where k is deep enough to repay summing their lanes, else up to 3; and up to 4 columns.
constexpr int64_t kDotRows = 12, kShallowDotRows = 3, kDeepDots = 128, kDotCols = 4, kDotDepth = 24;

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t roundUp(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }

template <class T, class F>
void mapVectors(T* x, int64_t n, F f) {
  constexpr int W = kWidth<T>;
  int64_t i = 0;
  for (; i + W <= n; i += W) f(Vec<T>::load(x + i)).store(x + i);
  if (i < n) f(Vec<T>::loadPart(x + i, static_cast<int>(n - i))).storePart(x + i, static_cast<int>(n - i));
}

template <class T>
void activate(Activation activation, T* x, int64_t n) {
  switch (activation) {
    case Activation::relu: return mapVectors(x, n, [](Vec<T> v) { return reluOf(v); });
    case Activation::gelu: return mapVectors(x, n, [](Vec<T> v) { return geluOf(v); });
    case Activation::geluTanh: return mapVectors(x, n, [](Vec<T> v) { return geluTanhOf(v); });
    case Activation::silu: return mapVectors(x, n, [](Vec<T> v) { return siluOf(v); });
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
  T* pre;
  bool add, last = true;

  explicit Finish(const GemmArgs& g)
      : c(static_cast<T*>(g.c)), cRow(g.cRow), cCol(g.cCol), alpha(static_cast<T>(g.alpha)), bias(static_cast<const T*>(g.bias)),
        biasRow(g.biasRow), biasCol(g.biasCol), activation(g.activation), pre(static_cast<T*>(g.preActivation)), add(g.accumulate) {}

  bool rowMajor() const { return cCol == 1 && (!bias || biasCol == 1); }

  /// Any layout: rows x cols sums at x, rows `ld` apart, that belong at (i, j).
  void general(T* x, int64_t ld, int64_t rows, int64_t cols, int64_t i, int64_t j) const {
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
      if (last && pre) {
        for (int64_t s = 0; s < cols; s++) pre[(i + r) * cRow + (j + s) * cCol] = row[s];
      }
      if (last) activate(activation, row, cols);
      for (int64_t s = 0; s < cols; s++) to[s * cCol] = row[s];
    }
  }
};

// A vector of which `n` lanes exist; WHOLE says at compile time that all do.
template <bool WHOLE, class T>
inline Vec<T> loadLanes(const T* p, int n) {
  return WHOLE || n >= kWidth<T> ? Vec<T>::load(p) : Vec<T>::loadPart(p, n);
}
template <bool WHOLE, class T>
inline void storeLanes(Vec<T> x, T* p, int n) {
  if (WHOLE || n >= kWidth<T>) {
    x.store(p);
  } else {
    x.storePart(p, n);
  }
}

/// Scales, adds, biases, activates and stores a tile of a row-major C at (i, j) straight from its registers.
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
      for (int v = 0; v < VECTORS; v++) acc[r][v] = acc[r][v] + loadLanes<WHOLE>(to + r * f.cRow + v * W, cols - v * W);
    }
  }
  if (f.last && f.bias) {
#pragma GCC unroll 16
    for (int v = 0; v < VECTORS; v++) {
      const Vec<T> bias = loadLanes<WHOLE>(f.bias + j + v * W, cols - v * W);
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; r++) acc[r][v] = acc[r][v] + bias;
    }
  }
  if (f.last && f.activation != Activation::none) {
    alignas(64) T buffer[ROWS * VECTORS * W];
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 16
      for (int v = 0; v < VECTORS; v++) {
        if (f.pre) storeLanes<WHOLE>(acc[r][v], f.pre + i * f.cRow + j + r * f.cRow + v * W, cols - v * W);
        acc[r][v].store(buffer + (r * VECTORS + v) * W);
      }
    }
    activate(f.activation, buffer, ROWS * VECTORS * W);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 16
      for (int v = 0; v < VECTORS; v++) acc[r][v] = Vec<T>::load(buffer + (r * VECTORS + v) * W);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 16
    for (int v = 0; v < VECTORS; v++) storeLanes<WHOLE>(acc[r][v], to + r * f.cRow + v * W, cols - v * W);
  }
}

/// Where a tile reads: A by element strides; vector v of B at b + (v / 2) · panel + (v % 2) · width, step k at k · bStep.
template <class T>
struct Source {
  const T* a;
  int64_t aRow, aStep;
  const T* b;
  int64_t bStep, panel;
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
  const int64_t aRow = from.aRow, aStep = from.aStep, bStep = from.bStep, panel = from.panel;
  for (int64_t k = 0; k < depth; k++, a += aStep, b += bStep) {
    Vec<T> right[VECTORS];
#pragma GCC unroll 16
    for (int v = 0; v < VECTORS; v++) right[v] = Vec<T>::load(b + (v / kPanelVectors) * panel + (v % kPanelVectors) * W);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      const Vec<T> left = Vec<T>::set(a[r * aRow]);
#pragma GCC unroll 16
      for (int v = 0; v < VECTORS; v++) acc[r][v] = fma(left, right[v], acc[r][v]);
    }
  }
  if (!f.rowMajor()) {
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

/// Columns [0, cols) of B as panels of kPanel<T> columns, [panel][k][column], zero beyond the last column.
template <class T>
void packB(const T* b, int64_t bRow, int64_t bCol, int64_t depth, int64_t cols, T* out) {
  constexpr int P = kPanel<T>;
  for (int64_t j = 0; j < cols; j += P, out += depth * P) md::MD_ISA::packPanel<kPanelVectors>(b + j * bCol, bRow, bCol, depth, least(P, cols - j), out);
}

/// Rows [0, rows) of A as strips of kTileRows rows, [strip][k][row]; rows beyond the last are not written.
template <class T>
void packA(const T* a, int64_t aRow, int64_t aCol, int64_t rows, int64_t depth, T* out) {
  for (int64_t i = 0; i < rows; i += kTileRows, out += depth * kTileRows) {
    const T* from = a + i * aRow;
    const int64_t n = least(kTileRows, rows - i);
    if (n == kTileRows && aRow == 1) {
      for (int64_t k = 0; k < depth; k++) __builtin_memcpy(out + k * kTileRows, from + k * aCol, kTileRows * sizeof(T));
    } else {
      for (int64_t k = 0; k < depth; k++) {
        for (int64_t r = 0; r < n; r++) out[k * kTileRows + r] = from[r * aRow + k * aCol];
      }
    }
  }
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
bool packsA(const GemmArgs& g) { return g.aCol != 1 && g.n > kDirectCols; }
bool packsB(const GemmArgs& g) { return g.bCol != 1 || g.m > kDirectRows; }

/// Enough for every block of C and stretch of k of this product too, whichever way each of them is computed.
template <class T>
int64_t scratchElements(const GemmArgs& g) {
  const bool vectorsOfA = g.bRow == 1 && g.aCol != 1, vectorsOfB = g.aCol == 1 && g.bRow != 1;
  const int64_t vectors = vectorsOfA ? least(g.m, kDotRows) : vectorsOfB ? least(g.n, kDotCols) : 0;
  const int64_t dots = g.k >= kDotDepth ? vectors * g.k : 0;
  const int64_t depth = least(g.k, kDepth);
  const int64_t a = packsA(g) ? depth * roundUp(least(g.m, kRowBlock), kTileRows) : 0;
  const int64_t b = depth * (packsB(g) ? least(roundUp(g.n, kPanel<T>), kColBlock) : kPanel<T>);
  return a + b > dots ? a + b : dots;
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
  // Rows of C are activated whole, in full vectors.
  const bool wholeRows = g.cCol == 1;
  if (wholeRows) f.activation = Activation::none;
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
  for (int64_t r = 0; r < g.m; r++) activate(g.activation, f.c + r * f.cRow, g.n);
}

/// One strip of ROWS rows over columns [0, cols) of the block at (i, j); few rows take wider tiles to fill the registers.
template <class T, int ROWS, int WIDE>
void strip(const Finish<T>& f, Source<T> from, int64_t depth, int64_t cols, int64_t i, int64_t j) {
  constexpr int W = kWidth<T>, P = kPanel<T>;
  int64_t s = 0;
  for (; s + WIDE * W <= cols; s += WIDE * W, from.b += WIDE / kPanelVectors * from.panel) tile<T, ROWS, WIDE>(f, from, depth, i, j + s, WIDE * W);
  for (; s < cols; s += P, from.b += from.panel) {
    const int n = static_cast<int>(least(P, cols - s));
    if (n > W) {
      tile<T, ROWS, 2>(f, from, depth, i, j + s, n);
    } else {
      tile<T, ROWS, 1>(f, from, depth, i, j + s, n);
    }
  }
}

/// Rows [0, rows) that fill no whole strip, in strips of ROWS, ROWS / 2, … 1: few tile shapes, since each costs code.
template <int ROWS, class T>
void raggedStrips(const Finish<T>& f, Source<T> from, int64_t depth, int64_t rows, int64_t cols, int64_t i, int64_t j) {
  if (rows >= ROWS) {
    strip<T, ROWS, wideTile(ROWS)>(f, from, depth, cols, i, j);
    from.a += ROWS * from.aRow;
    rows -= ROWS;
    i += ROWS;
  }
  if constexpr (ROWS > 1) {
    if (rows > 0) raggedStrips<ROWS / 2>(f, from, depth, rows, cols, i, j);
  }
}

/// Rows [0, rows) x columns [0, cols) at (i, j), strip by strip: each row of C is written once, from left to right.
template <class T>
void block(const Finish<T>& f, const Source<T>& from, int64_t stripStride, int64_t depth, int64_t rows, int64_t cols, int64_t i, int64_t j) {
  const int64_t strips = rows / kTileRows;
  Source<T> whole = from;
  for (int64_t t = 0; t < strips; t++, whole.a += stripStride) strip<T, kTileRows, 2>(f, whole, depth, cols, i + t * kTileRows, j);
  Source<T> at = from;
  at.a += strips * stripStride;
  const int64_t last = i + strips * kTileRows;
  raggedStrips<kTileRows < 8 ? 4 : 8>(f, at, depth, rows % kTileRows, cols, last, j);
}

template <class T>
void serial(const GemmArgs& g, T* scratch) {
  if (usesDots(g)) return dots(g, scratch);
  constexpr int P = kPanel<T>;
  const bool packedA = packsA(g), packedB = packsB(g);
  T* const packA_ = scratch;
  T* const packB_ = scratch + (packedA ? least(g.k, kDepth) * roundUp(least(g.m, kRowBlock), kTileRows) : 0);
  Finish<T> f(g);
  for (int64_t j = 0; j < g.n; j += kColBlock) {
    const int64_t cols = least(kColBlock, g.n - j), whole = packedB ? cols : cols / P * P;
    for (int64_t k = 0; k == 0 || k < g.k; k += kDepth) {
      const int64_t depth = least(kDepth, g.k - k);
      f.add = g.accumulate || k > 0;
      f.last = k + kDepth >= g.k;
      const T* b = static_cast<const T*>(g.b) + k * g.bRow + j * g.bCol;
      packB(packedB ? b : b + whole * g.bCol, g.bRow, g.bCol, depth, packedB ? cols : cols - whole, packB_);
      for (int64_t i = 0; i < g.m; i += kRowBlock) {
        const int64_t rows = least(kRowBlock, g.m - i);
        Source<T> from{static_cast<const T*>(g.a) + i * g.aRow + k * g.aCol, g.aRow, g.aCol, b, g.bRow, P};
        int64_t stripStride = kTileRows * g.aRow;
        if (packedA) {
          packA(from.a, g.aRow, g.aCol, rows, depth, packA_);
          from.a = packA_;
          from.aRow = 1;
          from.aStep = kTileRows;
          stripStride = kTileRows * depth;
        }
        if (!packedB) block(f, from, stripStride, depth, rows, whole, i, j);
        from.b = packB_;
        from.bStep = P;
        from.panel = depth * P;
        if (packedB) {
          block(f, from, stripStride, depth, rows, cols, i, j);
        } else if (whole < cols) {
          block(f, from, stripStride, depth, rows, cols - whole, i, j + whole);
        }
      }
    }
  }
}

template <class T>
void reduceRows(const GemmArgs& g, const T* partial, int64_t parts, int64_t begin, int64_t end) {
  constexpr int64_t kChunk = 256;
  alignas(64) T sums[kChunk];
  const Finish<T> f(g);
  for (int64_t i = begin; i < end; i++) {
    for (int64_t j = 0; j < g.n; j += kChunk) {
      const int64_t n = least(kChunk, g.n - j);
      for (int64_t s = 0; s < n; s++) sums[s] = partial[i * g.n + j + s];
      for (int64_t part = 1; part < parts; part++) {
        const T* from = partial + (part * g.m + i) * g.n + j;
        for (int64_t s = 0; s < n; s++) sums[s] += from[s];
      }
      f.general(sums, kChunk, 1, n, i, j);
    }
  }
}

}  // namespace

Tile gemmTile(DType dtype) { return {kTileRows, dtype == DType::f32 ? kPanel<float> : kPanel<double>}; }

int64_t gemmScratch(const GemmArgs& args) { return args.dtype == DType::f32 ? scratchElements<float>(args) : scratchElements<double>(args); }

void gemmSerial(const GemmArgs& args, void* scratch) {
  if (args.dtype == DType::f32) {
    serial<float>(args, static_cast<float*>(scratch));
  } else {
    serial<double>(args, static_cast<double*>(scratch));
  }
}

void gemmReduce(const GemmArgs& args, const void* partial, int64_t parts, int64_t begin, int64_t end) {
  if (args.dtype == DType::f32) {
    reduceRows<float>(args, static_cast<const float*>(partial), parts, begin, end);
  } else {
    reduceRows<double>(args, static_cast<const double*>(partial), parts, begin, end);
  }
}

}  // namespace md::matmul::MD_ISA
