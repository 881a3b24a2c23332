#include <algorithm>
#include <cstring>
#include <vector>

#include "../../isa/pack.h"
#include "../../isa/simd.h"
#include "op.h"

namespace md::gathered_gemm::MD_ISA {
namespace {

using md::MD_ISA::Vec;

constexpr int64_t kNearBytes = 200 << 10;  // of operands in the second-level cache, beside a thread's part of a result

/// Rows of a register tile: their accumulators, the vectors of a panel and one broadcast element fit the registers. More
/// than 12 would run out of the general registers that hold their addresses.
template <int Vectors>
constexpr int kTileRows = (md::MD_ISA::kRegisters - Vectors - 1) / Vectors < 12 ? (md::MD_ISA::kRegisters - Vectors - 1) / Vectors : 12;

template <class T>
int64_t paddedColumnsOf(int64_t columns) {
  constexpr int W = Vec<T>::width;
  return (columns + W - 1) / W * W;
}

// f<Vectors>(first vector) for each panel: threes as far as no single vector is left over, then twos.
template <class F>
void eachPanel(int64_t vectors, F&& f) {
  for (int64_t v = 0; v < vectors;) {
    const int64_t left = vectors - v;
    if (left == 3 || left >= 5) {
      f.template operator()<3>(v);
      v += 3;
    } else if (left >= 2) {
      f.template operator()<2>(v);
      v += 2;
    } else {
      f.template operator()<1>(v);
      v += 1;
    }
  }
}

// f<Rows>(first row) for tiles of Rows, and one of what is left.
template <int Rows, class F>
void eachTile(int64_t begin, int64_t end, F&& f) {
  for (; begin + Rows <= end; begin += Rows) f.template operator()<Rows>(begin);
  if constexpr (Rows > 1) {
    if (begin < end) eachTile<Rows - 1>(begin, end, f);
  }
}

template <class T>
void packPanelsOf(const T* matrix, int64_t depth, int64_t columns, int64_t depthStride, int64_t columnStride, T* packed) {
  constexpr int W = Vec<T>::width;
  eachPanel(paddedColumnsOf<T>(columns) / W, [&]<int Vectors>(int64_t v) {
    const int64_t first = v * W;
    md::MD_ISA::packPanel<Vectors>(matrix + first * columnStride, depthStride, columnStride, depth, columns - first, packed + first * depth);
  });
}

// sums[to] += x[from] · panel for Rows pairs; rows of the panel are `step`, rows of sums `stride` apart.
template <int Rows, int Vectors, class T>
inline __attribute__((always_inline)) void multiplyTile(const int32_t* from, const int32_t* to, const T* x, int64_t depth, const T* panel, int64_t step, T* sums,
                                                        int64_t stride) {
  constexpr int W = Vec<T>::width;
  const T* row[Rows];
  Vec<T> acc[Rows][Vectors];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r++) {
    row[r] = x + from[r] * depth;
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; v++) acc[r][v] = Vec<T>::zero();
  }
#pragma GCC unroll 4
  for (int64_t d = 0; d < depth; d++) {
    Vec<T> w[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; v++) w[v] = Vec<T>::load(panel + d * step + v * W);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; r++) {
      const Vec<T> value = Vec<T>::set(row[r][d]);
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; v++) acc[r][v] = fma(value, w[v], acc[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r++) {
    T* out = sums + to[r] * stride;
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; v++) (Vec<T>::load(out + v * W) + acc[r][v]).store(out + v * W);
  }
}

// Whether the pairs of a block stay within the inputs and the block's own rows.
bool validPairs(const Pairs& p, int64_t block) {
  const auto first = static_cast<int32_t>(block * p.blockRows), rows = static_cast<int32_t>(p.outputRows - first < p.blockRows ? p.outputRows - first : p.blockRows);
  const auto inputs = static_cast<uint32_t>(p.inputRows);
  uint32_t bad = 0;
  for (int32_t h = p.starts[block * p.kernels]; h < p.starts[(block + 1) * p.kernels]; h++) {
    bad |= static_cast<uint32_t>(static_cast<uint32_t>(p.inputs[h]) >= inputs) | static_cast<uint32_t>(static_cast<uint32_t>(p.outputs[h] - first) >= static_cast<uint32_t>(rows));
  }
  return bad == 0;
}

// Columns of a matrix: packed into panels, or where they are, in rows that are `step` apart.
template <class T>
struct Columns {
  const T* first;
  int64_t step;  // 0: packed
};

// Adds what the pairs of blocks [begin, end) give to `width` columns of their rows, which `columnsOf(k)` are multiplied with.
template <class T, class F>
void multiplyPairs(const Product& p, int64_t begin, int64_t end, int64_t width, T* sums, int64_t stride, F columnsOf) {
  constexpr int W = Vec<T>::width;
  const Pairs& pairs = p.pairs;
  for (int64_t k = 0; k < pairs.kernels; k++) {
    Columns<T> columns{};
    for (int64_t block = begin; block < end; block++) {
      const int32_t *at = pairs.starts + block * pairs.kernels + k, *from = pairs.inputs, *to = pairs.outputs;
      if (at[0] == at[1]) continue;
      if (!columns.first) columns = columnsOf(k);
      eachPanel(width / W, [&]<int Vectors>(int64_t v) {
        const bool packed = columns.step == 0;
        const T* const panel = columns.first + v * W * (packed ? p.depth : 1);
        const int64_t step = packed ? Vectors * W : columns.step;
        eachTile<kTileRows<Vectors>>(at[0], at[1], [&]<int Rows>(int64_t h) {
          multiplyTile<Rows, Vectors>(from + h, to + h, static_cast<const T*>(p.x), p.depth, panel, step, sums + v * W, stride);
        });
      });
    }
  }
}

// Rows [begin, end) of the result, all columns or some: from where sums are added up, to where they belong. Sums are added up
// in the result itself where its rows hold whole vectors.
template <class T>
struct Sums {
  T* out;
  int64_t columns;  // of the whole result
  int64_t first, count;  // columns here
  T* at;
  int64_t stride;

  Sums(const Product& p, int64_t begin, int64_t first, int64_t count, T* space) : out(static_cast<T*>(p.out) + first), columns(p.columns), first(first), count(count) {
    const bool direct = paddedColumnsOf<T>(p.columns) == p.columns;
    stride = direct ? columns : paddedColumnsOf<T>(count);
    at = direct ? out : space - begin * stride;
  }
  void clear(int64_t begin, int64_t end, const void* bias) {
    for (int64_t r = begin; r < end; r++) {
      T* const row = at + r * stride;
      for (int64_t c = 0; c < count; c += Vec<T>::width) Vec<T>::zero().store(row + c);
      if (bias) std::memcpy(row, static_cast<const T*>(bias) + first, static_cast<size_t>(count) * sizeof(T));
    }
  }
  void finish(int64_t begin, int64_t end) {
    if (at == out) return;
    for (int64_t r = begin; r < end; r++) std::memcpy(out + r * columns, at + r * stride, static_cast<size_t>(count) * sizeof(T));
  }
};

template <class T>
void multiplyBlock(const Product& p, int64_t block, T* space) {
  const int64_t begin = block * p.pairs.blockRows, end = begin + p.pairs.blockRows < p.pairs.outputRows ? begin + p.pairs.blockRows : p.pairs.outputRows;
  const int64_t padded = paddedColumnsOf<T>(p.columns);
  Sums<T> sums(p, begin, 0, p.columns, space);
  sums.clear(begin, end, p.bias);
  multiplyPairs(p, block, block + 1, padded, sums.at, sums.stride, [&](int64_t k) { return Columns<T>{static_cast<const T*>(p.packed) + k * padded * p.depth, 0}; });
  sums.finish(begin, end);
}

template <class T>
void multiplyColumnsOf(const Product& p, const Panels& m, int64_t first, int64_t last, int64_t begin, int64_t end, T* space) {
  const int64_t padded = paddedColumnsOf<T>(last - first), firstRow = begin * p.pairs.blockRows, lastRow = std::min(p.pairs.outputRows, end * p.pairs.blockRows);
  T* const packed = space;
  Sums<T> sums(p, firstRow, first, last - first, space + padded * p.depth);
  sums.clear(firstRow, lastRow, p.bias);
  // Rows that lie together: those of a convolution's weight are a page or two apart.
  const bool inPlace = m.columnStride == 1 && m.depthStride == p.columns && padded == last - first;
  multiplyPairs(p, begin, end, padded, sums.at, sums.stride, [&](int64_t k) {
    const T* const columns = static_cast<const T*>(m.first) + k * m.kernelStride + first * m.columnStride;
    if (inPlace) return Columns<T>{columns, m.depthStride};
    packPanelsOf(columns, p.depth, last - first, m.depthStride, m.columnStride, packed);
    return Columns<T>{packed, 0};
  });
  sums.finish(firstRow, lastRow);
}

// sums[row][…] = sum over the pairs of grad[to][row] · x[from][…], plus what was there if `add`, for Rows rows and one panel
// whose last vector has `lanes` elements.
template <int Rows, int Vectors, bool Whole, class T>
inline __attribute__((always_inline)) void outerTile(const int32_t* from, const int32_t* to, int64_t pairs, const T* x, int64_t depth, const T* grad,
                                                     int64_t columns, int lanes, T* sums, int64_t stride, bool add) {
  constexpr int W = Vec<T>::width;
  Vec<T> acc[Rows][Vectors];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; v++) acc[r][v] = Vec<T>::zero();
  }
#pragma GCC unroll 2
  for (int64_t h = 0; h < pairs; h++) {
    const T* input = x + from[h] * depth;
    const T* g = grad + to[h] * columns;
    Vec<T> values[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; v++) values[v] = Whole || v + 1 < Vectors ? Vec<T>::load(input + v * W) : Vec<T>::loadPart(input + v * W, lanes);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; r++) {
      const Vec<T> weight = Vec<T>::set(g[r]);
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; v++) acc[r][v] = fma(weight, values[v], acc[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r++) {
    T* out = sums + r * stride;
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; v++) (add ? Vec<T>::load(out + v * W) + acc[r][v] : acc[r][v]).store(out + v * W);
  }
}

template <class T>
void outerProductRowsOf(const OuterProduct& p, int64_t begin, int64_t end) {
  constexpr int W = Vec<T>::width;
  const Pairs& pairs = p.pairs;
  const int64_t stride = paddedColumnsOf<T>(p.depth), blocks = (pairs.outputRows + pairs.blockRows - 1) / pairs.blockRows;
  const bool direct = !p.sums;
  const int64_t rowStride = direct ? p.columnStride : stride;
  const auto weightRow = [&](int64_t row) { return static_cast<T*>(p.weight) + row / p.columns * p.kernelStride + row % p.columns * p.columnStride; };
  const auto rowOf = [&](int64_t row) { return direct ? weightRow(row) : static_cast<T*>(p.sums) + row * stride; };
  const auto multiplyGroup = [&](int64_t k, const int32_t* at, bool add) {
    const int32_t *from = pairs.inputs + at[0], *to = pairs.outputs + at[0];
    eachPanel(stride / W, [&]<int Vectors>(int64_t v) {
      const T* x = static_cast<const T*>(p.x) + v * W;
      const int64_t lanes = p.depth - (v + Vectors - 1) * W;
      eachTile<kTileRows<Vectors>>(std::max(begin, k * p.columns), std::min(end, (k + 1) * p.columns), [&]<int Rows>(int64_t row) {
        const T* grad = static_cast<const T*>(p.grad) + (row - k * p.columns);
        T* out = rowOf(row) + v * W;
        if (lanes >= W) {
          outerTile<Rows, Vectors, true>(from, to, at[1] - at[0], x, p.depth, grad, p.columns, W, out, rowStride, add);
        } else {
          outerTile<Rows, Vectors, false>(from, to, at[1] - at[0], x, p.depth, grad, p.columns, static_cast<int>(lanes), out, rowStride, add);
        }
      });
    });
  };
  // Rows of so many blocks stay near while the offsets pass over them: a large gradient comes by once for all of these.
  const int64_t near = std::max<int64_t>(1, kNearBytes / (pairs.blockRows * (p.depth + p.columns) * static_cast<int64_t>(sizeof(T))));
  std::vector<bool> begun(static_cast<size_t>(pairs.kernels), false);
  for (int64_t first = 0; first < blocks; first += near) {
    for (int64_t k = begin / p.columns; k * p.columns < end; k++) {
      for (int64_t block = first; block < std::min(blocks, first + near); block++) {
        const int32_t* at = pairs.starts + block * pairs.kernels + k;
        if (at[0] == at[1]) continue;
        multiplyGroup(k, at, begun[static_cast<size_t>(k)]);
        begun[static_cast<size_t>(k)] = true;
      }
    }
  }
  for (int64_t row = begin; row < end; row++) {
    if (!begun[static_cast<size_t>(row / p.columns)]) std::memset(rowOf(row), 0, static_cast<size_t>(stride) * sizeof(T));
  }
  if (direct) return;
  for (int64_t row = begin; row < end; row++) {
    T* out = weightRow(row);
    const T* from = rowOf(row);
    if (p.depthStride == 1) {
      std::memcpy(out, from, static_cast<size_t>(p.depth) * sizeof(T));
    } else {
      for (int64_t d = 0; d < p.depth; d++) out[d * p.depthStride] = from[d];
    }
  }
}

}  // namespace

bool countPairs(const int32_t* neighbours, int64_t kernels, int64_t inputs, int64_t begin, int64_t end, int32_t* __restrict counts) {
  bool valid = true;
  for (int64_t o = begin; o < end; o++) {
    const int32_t* row = neighbours + o * kernels;
    int32_t bad = 0;
    for (int64_t k = 0; k < kernels; k++) {
      bad |= (row[k] < -1) | (row[k] >= inputs);
      counts[k] += row[k] >= 0;
    }
    valid = valid && !bad;
  }
  return valid;
}

// Without a branch to a buffer first: half of the neighbours are empty and nothing foretells which.
void emitPairs(const int32_t* neighbours, int64_t kernels, int64_t begin, int64_t end, const int32_t* starts, int32_t* inputs, int32_t* outputs) {
  int32_t from[kBlockRows + 1], to[kBlockRows + 1];
  for (int64_t k = 0; k < kernels; k++) {
    int32_t count = 0;
    for (int64_t o = begin; o < end; o++) {
      const int32_t input = neighbours[o * kernels + k];
      from[count] = input;
      to[count] = static_cast<int32_t>(o);
      count += input >= 0;
    }
    std::memcpy(inputs + starts[k], from, static_cast<size_t>(count) * sizeof(int32_t));
    std::memcpy(outputs + starts[k], to, static_cast<size_t>(count) * sizeof(int32_t));
  }
}

int64_t paddedColumns(DType dtype, int64_t columns) { return dtype == DType::f32 ? paddedColumnsOf<float>(columns) : paddedColumnsOf<double>(columns); }

void packPanels(DType dtype, const void* matrix, int64_t depth, int64_t columns, int64_t depthStride, int64_t columnStride, void* packed) {
  if (dtype == DType::f32) return packPanelsOf(static_cast<const float*>(matrix), depth, columns, depthStride, columnStride, static_cast<float*>(packed));
  packPanelsOf(static_cast<const double*>(matrix), depth, columns, depthStride, columnStride, static_cast<double*>(packed));
}

void multiplyBlocks(const Product& product, int64_t begin, int64_t end, void* sums) {
  for (int64_t block = begin; block < end; block++) {
    if (product.dtype == DType::f32) {
      multiplyBlock(product, block, static_cast<float*>(sums));
    } else {
      multiplyBlock(product, block, static_cast<double*>(sums));
    }
  }
}

void multiplyColumns(const Product& product, const Panels& panels, int64_t first, int64_t last, int64_t begin, int64_t end, void* space) {
  if (product.dtype == DType::f32) return multiplyColumnsOf(product, panels, first, last, begin, end, static_cast<float*>(space));
  multiplyColumnsOf(product, panels, first, last, begin, end, static_cast<double*>(space));
}

bool pairsHold(const Pairs& pairs, int64_t blocks) {
  int64_t block = 0;
  while (block < blocks && validPairs(pairs, block)) block++;
  return block == blocks;
}

void outerProductRows(const OuterProduct& product, int64_t begin, int64_t end) {
  return product.dtype == DType::f32 ? outerProductRowsOf<float>(product, begin, end) : outerProductRowsOf<double>(product, begin, end);
}

}  // namespace md::gathered_gemm::MD_ISA
