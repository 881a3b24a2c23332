// Goto's GEMM (Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", 2008): panels of B are packed
// for the caches and a register tile of C is swept over them. A is read in place where its rows are contiguous or few
// columns would not repay its packing, B where few rows would not; products with few columns or rows are dot products
// along k.
#include "../../isa/pack.h"
#include "dots.h"
#include "tile.h"

namespace md::matmul::MD_ISA {
namespace {

constexpr bool kNarrow = kTileRows < 8;        // 16 registers: strips of few rows
constexpr int64_t kWholeDepth = 576;           // of k taken at once, so that C is not added to
constexpr int64_t kDepth = 384;                // k block of deeper products: packed rows of A stay near
constexpr int64_t kRowBlock = (kNarrow ? 36 : 24) * kTileRows;  // rows of packed A that stay in the caches
constexpr int64_t kColBlock = 576;             // columns of B packed at a time
constexpr int64_t kNearBytes = 192 << 10;      // of packed B, which stay in the second-level cache while strips of A pass over them
constexpr int64_t kDirectRows = kNarrow ? 12 : 28;  // up to here packing B costs more than it saves
constexpr int64_t kDirectCols = 32;            // up to here packing A does, and three times as far where k steps lie apart
constexpr int kPanelsAtOnce = 4;               // that rows of B are dealt out to
constexpr int kStripsAtOnce = kNarrow ? 4 : 1; // that columns of A are: a line of the cache
constexpr int64_t kStepsAhead = 24;            // of k, that memory takes to answer

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t roundUp(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }

/// Columns [0, cols) of B as panels of kPanel<T> columns, [panel][k][column], zero beyond the last column.
template <class T>
void packB(const T* b, int64_t bRow, int64_t bCol, int64_t depth, int64_t cols, T* out) {
  constexpr int P = kPanel<T>, several = kPanelsAtOnce * P;
  int64_t j = 0;
  if (bCol == 1) {
    for (; j + several <= cols; j += several, out += depth * several) md::MD_ISA::packPanels<kPanelVectors, kPanelsAtOnce>(b + j, bRow, depth, out);
  }
  for (; j < cols; j += P, out += depth * P) md::MD_ISA::packPanel<kPanelVectors>(b + j * bCol, bRow, bCol, depth, least(P, cols - j), out);
}

/// Rows [0, rows) of A as strips of kTileRows rows, [strip][k][row]; rows beyond the last are not written.
template <class T>
void packA(const T* a, int64_t aRow, int64_t aCol, int64_t rows, int64_t depth, T* out) {
  constexpr int64_t several = kStripsAtOnce * kTileRows;
  int64_t i = 0;
  if (aRow == 1) {
    for (; i + several <= rows; i += several, out += depth * several) {
      for (int64_t k = 0; k < depth; k++) {
#pragma GCC unroll 4
        for (int64_t s = 0; s < kStripsAtOnce; s++) {
          __builtin_memcpy(out + (s * depth + k) * kTileRows, a + i + s * kTileRows + k * aCol, kTileRows * sizeof(T));
        }
      }
    }
  }
  for (; i < rows; i += kTileRows, out += depth * kTileRows) {
    for (int64_t k = 0; k < depth; k++) {
      for (int64_t r = 0; r < least(kTileRows, rows - i); r++) out[k * kTileRows + r] = a[(i + r) * aRow + k * aCol];
    }
  }
}

bool packsA(const GemmArgs& g) { return g.aCol != 1 && g.n > (g.aRow == 1 ? 3 * kDirectCols : kDirectCols); }
bool packsB(const GemmArgs& g) { return g.bCol != 1 || g.m > kDirectRows; }

template <class T>
int64_t scratchOfB(const GemmArgs& g) {
  return least(g.k, kWholeDepth) * (packsB(g) ? least(roundUp(g.n, kPanel<T>), kColBlock) : kPanel<T>);
}

/// Enough for every block of C and stretch of k of this product too, whichever way each of them is computed.
template <class T>
int64_t scratchElements(const GemmArgs& g) {
  const bool vectorsOfA = g.bRow == 1 && g.aCol != 1, vectorsOfB = g.aCol == 1 && g.bRow != 1;
  const int64_t vectors = vectorsOfA ? least(g.m, kDotRows) : vectorsOfB ? least(g.n, kDotCols) : 0;
  const int64_t dots = g.k >= kDotDepth ? vectors * g.k : 0;
  const int64_t a = packsA(g) ? least(g.k, kWholeDepth) * roundUp(least(g.m, kRowBlock), kTileRows) : 0, b = scratchOfB<T>(g);
  return a + b > dots ? a + b : dots;
}

/// A panel of which `cols` columns exist, in no more vectors than these fill.
template <int VECTORS, int ROWS, class T>
void lastTile(const Finish<T>& f, const Source<T>& from, int64_t depth, int64_t i, int64_t j, int cols) {
  if constexpr (VECTORS > 1) {
    if (cols <= (VECTORS - 1) * kWidth<T>) return lastTile<VECTORS - 1, ROWS>(f, from, depth, i, j, cols);
  }
  tile<T, ROWS, VECTORS>(f, from, depth, i, j, cols);
}

/// One strip of ROWS rows over columns [0, cols) of the block at (i, j); few rows take wider tiles to fill the registers.
template <class T, int ROWS, int WIDE>
void strip(const Finish<T>& f, Source<T> from, int64_t depth, int64_t cols, int64_t i, int64_t j) {
  constexpr int W = kWidth<T>, P = kPanel<T>;
  int64_t s = 0;
  for (; s + WIDE * W <= cols; s += WIDE * W, from.b += WIDE / kPanelVectors * from.panel, from.ahead += from.aheadTile) {
    tile<T, ROWS, WIDE>(f, from, depth, i, j + s, WIDE * W);
  }
  for (; s < cols; s += P, from.b += from.panel, from.ahead += from.aheadTile) {
    lastTile<kPanelVectors, ROWS>(f, from, depth, i, j + s, static_cast<int>(least(P, cols - s)));
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
  const int64_t strips = rows / kTileRows, tiles = (cols + kPanel<T> - 1) / kPanel<T>;
  // Where rows of A lie along k, the tiles of a strip share the lines of the next; else they are those some steps on.
  const bool alongK = from.aStep == 1;
  Source<T> whole = from;
  whole.aheadStep = alongK ? 1 + kTileRows * from.aRow / (1 + depth * tiles) : from.aStep;
  whole.aheadTile = alongK ? whole.aheadStep * depth : 0;
  for (int64_t t = 0; t < strips; t++, whole.a += stripStride) {
    whole.ahead = whole.a + (alongK ? stripStride : kStepsAhead * from.aStep);
    strip<T, kTileRows, kPanelVectors>(f, whole, depth, cols, i + t * kTileRows, j);
  }
  Source<T> at = from;
  at.a += strips * stripStride;
  at.ahead = at.a;
  const int64_t last = i + strips * kTileRows;
  raggedStrips<kNarrow ? 2 : 8>(f, at, depth, rows % kTileRows, cols, last, j);
}

template <class T>
bool serial(const GemmArgs& g, T* scratch, bool packed) {
  if (g.dots && usesDots(g)) {
    dots(g, scratch);
    return false;
  }
  constexpr int P = kPanel<T>;
  const bool packedA = packsA(g), packedB = packsB(g), keepsB = packedB && g.n <= kColBlock && g.k <= kWholeDepth;
  const int64_t mostDepth = g.k <= kWholeDepth ? kWholeDepth : kDepth;
  T* const packB_ = scratch;
  T* const packA_ = scratch + scratchOfB<T>(g);
  Finish<T> f(g);
  for (int64_t j = 0; j < g.n; j += kColBlock) {
    const int64_t cols = least(kColBlock, g.n - j), whole = packedB ? cols : cols / P * P;
    for (int64_t k = 0; k == 0 || k < g.k; k += mostDepth) {
      const int64_t depth = least(mostDepth, g.k - k);
      f.add = g.accumulate || k > 0;
      f.last = k + mostDepth >= g.k;
      const T* b = static_cast<const T*>(g.b) + k * g.bRow + j * g.bCol;
      if (!(keepsB && packed)) packB(packedB ? b : b + whole * g.bCol, g.bRow, g.bCol, depth, packedB ? cols : cols - whole, packB_);
      for (int64_t i = 0; i < g.m; i += kRowBlock) {
        const int64_t rows = least(kRowBlock, g.m - i);
        Source<T> from{static_cast<const T*>(g.a) + i * g.aRow + k * g.aCol, g.aRow, g.aCol, b, g.bRow, P, nullptr};
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
          const int64_t panels = kNearBytes / (P * static_cast<int64_t>(sizeof(T)) * (depth > 0 ? depth : 1)), near = P * (panels > 1 ? panels : 1);
          for (int64_t s = 0; s < cols; s += near) {
            from.b = packB_ + s * depth;
            block(f, from, stripStride, depth, rows, least(near, cols - s), i, j + s);
          }
        } else if (whole < cols) {
          block(f, from, stripStride, depth, rows, cols - whole, i, j + whole);
        }
      }
    }
  }
  return keepsB;
}

template <class T>
void reduceRows(const GemmArgs& g, const T* partial, int64_t parts, int64_t begin, int64_t end) {
  constexpr int64_t kChunk = Finish<T>::kMostColumns;
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

Tile gemmTile(DType dtype) {
  return dtype == DType::f32 ? Tile{kTileRows, kPanel<float>, kWidth<float>} : Tile{kTileRows, kPanel<double>, kWidth<double>};
}

bool gemmUsesDots(const GemmArgs& args) { return usesDots(args); }

int64_t gemmScratch(const GemmArgs& args) { return args.dtype == DType::f32 ? scratchElements<float>(args) : scratchElements<double>(args); }

bool gemmSerial(const GemmArgs& args, void* scratch, bool packed) {
  return args.dtype == DType::f32 ? serial<float>(args, static_cast<float*>(scratch), packed) : serial<double>(args, static_cast<double*>(scratch), packed);
}

void gemmReduce(const GemmArgs& args, const void* partial, int64_t parts, int64_t begin, int64_t end) {
  if (args.dtype == DType::f32) {
    reduceRows<float>(args, static_cast<const float*>(partial), parts, begin, end);
  } else {
    reduceRows<double>(args, static_cast<const double*>(partial), parts, begin, end);
  }
}

}  // namespace md::matmul::MD_ISA
