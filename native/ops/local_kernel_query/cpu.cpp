#include "../../isa/simd.h"
#include "op.h"

namespace md::local_kernel_query::MD_ISA {
namespace {

using md::MD_ISA::Vec;

constexpr int kTileRows = 6;
constexpr int kTileVectors = 2;  // 6 x 2 accumulators, 2 loads and 1 broadcast: 15 of AVX2's 16 registers
constexpr int kBatch = 96;       // hits gathered at a time; a multiple of kTileRows
constexpr int64_t kHitBlock = 256;

template <class T>
constexpr int panelWidth() {
  return kTileVectors * Vec<T>::width;
}

template <class T>
int64_t packedSizeOf(int64_t depth, int64_t columns) {
  const int64_t width = panelWidth<T>();
  return (columns + width - 1) / width * width * depth;
}

template <class T>
void packPanelsOf(const T* matrix, int64_t depth, int64_t columns, int64_t depthStride, int64_t columnStride, T* packed) {
  constexpr int width = panelWidth<T>();
  for (int64_t first = 0; first < columns; first += width) {
    const int64_t count = columns - first < width ? columns - first : width;
    for (int64_t c = 0; c < width; c++) {
      if (c >= count) {
        for (int64_t d = 0; d < depth; d++) packed[d * width + c] = 0;
      } else {
        const T* column = matrix + (first + c) * columnStride;
        for (int64_t d = 0; d < depth; d++) packed[d * width + c] = column[d * depthStride];
      }
    }
    packed += depth * width;
  }
}

// target rows += source rows · panel, for Rows hits and one panel of `count` columns.
template <int Rows, class T>
void tile(const int32_t* from, const int32_t* to, const T* source, const T* panel, int64_t depth, int64_t columns, int64_t count, T* target) {
  constexpr int width = Vec<T>::width;
  const T* row[Rows];
  Vec<T> sum[Rows][kTileVectors];
  for (int r = 0; r < Rows; r++) {
    row[r] = source + from[r] * depth;
    for (int v = 0; v < kTileVectors; v++) sum[r][v] = Vec<T>::zero();
  }
  for (int64_t d = 0; d < depth; d++) {
    const Vec<T> w0 = Vec<T>::load(panel + d * kTileVectors * width), w1 = Vec<T>::load(panel + d * kTileVectors * width + width);
    for (int r = 0; r < Rows; r++) {
      const Vec<T> x = Vec<T>::set(row[r][d]);
      sum[r][0] = fma(x, w0, sum[r][0]);
      sum[r][1] = fma(x, w1, sum[r][1]);
    }
  }
  for (int r = 0; r < Rows; r++) {
    T* out = target + to[r] * columns;
    for (int v = 0; v < kTileVectors; v++) {
      const int64_t left = count - v * width;
      if (left >= width) {
        (Vec<T>::load(out + v * width) + sum[r][v]).store(out + v * width);
      } else if (left > 0) {
        const int n = static_cast<int>(left);
        (Vec<T>::loadPart(out + v * width, n) + sum[r][v]).storePart(out + v * width, n);
      }
    }
  }
}

template <class T>
void gatheredGemm(const int32_t* from, const int32_t* to, int hits, const T* source, const T* packed, int64_t depth, int64_t columns, T* target) {
  constexpr int width = panelWidth<T>();
  for (int64_t first = 0; first < columns; first += width) {
    const T* panel = packed + first * depth;
    const int64_t count = columns - first < width ? columns - first : width;
    int h = 0;
    for (; h + kTileRows <= hits; h += kTileRows) tile<kTileRows>(from + h, to + h, source, panel, depth, columns, count, target + first);
    switch (hits - h) {
      case 5: tile<5>(from + h, to + h, source, panel, depth, columns, count, target + first); break;
      case 4: tile<4>(from + h, to + h, source, panel, depth, columns, count, target + first); break;
      case 3: tile<3>(from + h, to + h, source, panel, depth, columns, count, target + first); break;
      case 2: tile<2>(from + h, to + h, source, panel, depth, columns, count, target + first); break;
      case 1: tile<1>(from + h, to + h, source, panel, depth, columns, count, target + first); break;
      default: break;
    }
  }
}

template <class T>
void accumulateHitsOf(const Pairs& pairs, const T* source, const T* packed, int64_t depth, int64_t columns, int64_t part, int64_t parts, T* target) {
  const int64_t matrix = packedSizeOf<T>(depth, columns);
  int32_t from[kBatch], to[kBatch];
  for (int64_t k = 0; k < pairs.kernels; k++) {
    int hits = 0;
    for (int32_t h = pairs.offsets[k]; h < pairs.offsets[k + 1]; h++) {
      if (parts > 1 && pairs.to[h] % parts != part) continue;
      from[hits] = pairs.from[h];
      to[hits++] = pairs.to[h];
      if (hits == kBatch) {
        gatheredGemm(from, to, hits, source, packed + k * matrix, depth, columns, target);
        hits = 0;
      }
    }
    gatheredGemm(from, to, hits, source, packed + k * matrix, depth, columns, target);
  }
}

// weightGrad[row …][column …] += sum over the hits of grad[to][row …] ⊗ means[from][column …]; `lanes` is the number of
// columns where the last vector is a part of one.
template <int Rows, int Vectors, class T>
void outerTile(const int32_t* from, const int32_t* to, int64_t hits, const T* means, const T* grad, int64_t in, int64_t out, int lanes, T* weightGrad) {
  constexpr int width = Vec<T>::width;
  Vec<T> sum[Rows][Vectors];
  for (int r = 0; r < Rows; r++) {
    for (int v = 0; v < Vectors; v++) sum[r][v] = Vec<T>::zero();
  }
  for (int64_t h = 0; h < hits; h++) {
    const T* x = means + from[h] * in;
    const T* g = grad + to[h] * out;
    Vec<T> xs[Vectors];
    for (int v = 0; v < Vectors; v++) xs[v] = lanes < width ? Vec<T>::loadPart(x, lanes) : Vec<T>::load(x + v * width);
    for (int r = 0; r < Rows; r++) {
      const Vec<T> gr = Vec<T>::set(g[r]);
      for (int v = 0; v < Vectors; v++) sum[r][v] = fma(gr, xs[v], sum[r][v]);
    }
  }
  for (int r = 0; r < Rows; r++) {
    T* target = weightGrad + r * in;
    for (int v = 0; v < Vectors; v++) {
      if (lanes < width) {
        (Vec<T>::loadPart(target, lanes) + sum[r][v]).storePart(target, lanes);
      } else {
        (Vec<T>::load(target + v * width) + sum[r][v]).store(target + v * width);
      }
    }
  }
}

template <int Rows, class T>
void outerRows(const int32_t* from, const int32_t* to, int64_t hits, const T* means, const T* grad, int64_t in, int64_t out, T* weightGrad) {
  constexpr int width = Vec<T>::width;
  int64_t c = 0;
  for (; c + 2 * width <= in; c += 2 * width) outerTile<Rows, 2>(from, to, hits, means + c, grad, in, out, width, weightGrad + c);
  if (c + width <= in) {
    outerTile<Rows, 1>(from, to, hits, means + c, grad, in, out, width, weightGrad + c);
    c += width;
  }
  if (c < in) outerTile<Rows, 1>(from, to, hits, means + c, grad, in, out, static_cast<int>(in - c), weightGrad + c);
}

template <class T>
void weightGradRowsOf(const Pairs& pairs, const T* means, const T* grad, int64_t in, int64_t out, int64_t begin, int64_t end, T* weightGrad) {
  for (int64_t k = 0; k < pairs.kernels; k++) {
    T* matrix = weightGrad + k * out * in;
    for (int64_t i = begin * in; i < end * in; i++) matrix[i] = 0;
    for (int64_t first = pairs.offsets[k]; first < pairs.offsets[k + 1]; first += kHitBlock) {
      const int64_t left = pairs.offsets[k + 1] - first, hits = left < kHitBlock ? left : kHitBlock;
      const int32_t *from = pairs.from + first, *to = pairs.to + first;
      int64_t r = begin;
      for (; r + kTileRows <= end; r += kTileRows) outerRows<kTileRows>(from, to, hits, means, grad + r, in, out, matrix + r * in);
      switch (end - r) {
        case 5: outerRows<5>(from, to, hits, means, grad + r, in, out, matrix + r * in); break;
        case 4: outerRows<4>(from, to, hits, means, grad + r, in, out, matrix + r * in); break;
        case 3: outerRows<3>(from, to, hits, means, grad + r, in, out, matrix + r * in); break;
        case 2: outerRows<2>(from, to, hits, means, grad + r, in, out, matrix + r * in); break;
        case 1: outerRows<1>(from, to, hits, means, grad + r, in, out, matrix + r * in); break;
        default: break;
      }
    }
  }
}

}  // namespace

bool countHits(const int32_t* neighbours, int64_t kernels, int64_t voxels, int64_t begin, int64_t end, int32_t* __restrict counts) {
  bool valid = true;
  for (int64_t q = begin; q < end; q++) {
    const int32_t* row = neighbours + q * kernels;
    int32_t bad = 0;
    for (int64_t k = 0; k < kernels; k++) {
      bad |= (row[k] < -1) | (row[k] >= voxels);
      counts[k] += row[k] >= 0;
    }
    valid = valid && !bad;
  }
  return valid;
}

// Query by query within a group of them, so that a row of neighbours is read from the cache for all offsets; written
// without a branch to a buffer first, since half of them are empty and nothing foretells which.
void emitHits(const int32_t* neighbours, int64_t kernels, int64_t begin, int64_t end, int32_t* next, int32_t* queries, int32_t* voxels) {
  int32_t hitQueries[kHitBlock + 1], hitVoxels[kHitBlock + 1];
  for (int64_t first = begin; first < end; first += kHitBlock) {
    const int64_t last = first + kHitBlock < end ? first + kHitBlock : end;
    for (int64_t k = 0; k < kernels; k++) {
      int32_t hits = 0;
      for (int64_t q = first; q < last; q++) {
        const int32_t voxel = neighbours[q * kernels + k];
        hitQueries[hits] = static_cast<int32_t>(q);
        hitVoxels[hits] = voxel;
        hits += voxel >= 0;
      }
      for (int32_t h = 0; h < hits; h++) {
        queries[next[k] + h] = hitQueries[h];
        voxels[next[k] + h] = hitVoxels[h];
      }
      next[k] += hits;
    }
  }
}

int64_t packedSize(DType dtype, int64_t depth, int64_t columns) {
  return dtype == DType::f32 ? packedSizeOf<float>(depth, columns) : packedSizeOf<double>(depth, columns);
}

void packPanels(DType dtype, const void* matrix, int64_t depth, int64_t columns, int64_t depthStride, int64_t columnStride, void* packed) {
  if (dtype == DType::f32) {
    return packPanelsOf(static_cast<const float*>(matrix), depth, columns, depthStride, columnStride, static_cast<float*>(packed));
  }
  packPanelsOf(static_cast<const double*>(matrix), depth, columns, depthStride, columnStride, static_cast<double*>(packed));
}

void accumulateHits(DType dtype, const Pairs& pairs, const void* source, const void* packed, int64_t depth, int64_t columns,
                    int64_t part, int64_t parts, void* target) {
  if (dtype == DType::f32) {
    return accumulateHitsOf(pairs, static_cast<const float*>(source), static_cast<const float*>(packed), depth, columns, part, parts, static_cast<float*>(target));
  }
  accumulateHitsOf(pairs, static_cast<const double*>(source), static_cast<const double*>(packed), depth, columns, part, parts, static_cast<double*>(target));
}

void weightGradRows(DType dtype, const Pairs& pairs, const void* means, const void* grad, int64_t in, int64_t out, int64_t begin, int64_t end, void* weightGrad) {
  if (dtype == DType::f32) {
    return weightGradRowsOf(pairs, static_cast<const float*>(means), static_cast<const float*>(grad), in, out, begin, end, static_cast<float*>(weightGrad));
  }
  weightGradRowsOf(pairs, static_cast<const double*>(means), static_cast<const double*>(grad), in, out, begin, end, static_cast<double*>(weightGrad));
}

}  // namespace md::local_kernel_query::MD_ISA
