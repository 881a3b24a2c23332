#include <cstring>

#include "op.h"

namespace md::segment::MD_ISA {
namespace {

constexpr int64_t kColumns = 64;  // of a chunk's sum, in the first-level cache
constexpr int64_t kChunk = 64;    // rows summed before they join the total, so that long segments lose less

int64_t rowOf(const Rows& rows, int64_t i) { return rows.order ? rows.order[i] : i; }

// to[c] = the sum of rows [begin, end), at least one, of columns [column, column + columns).
template <class T>
void sumChunk(const Rows& rows, int64_t begin, int64_t end, const T* x, int64_t column, int64_t columns, T* __restrict to) {
  std::memcpy(to, x + rowOf(rows, begin) * rows.inner + column, static_cast<size_t>(columns) * sizeof(T));
  for (int64_t i = begin + 1; i < end; i++) {
    const T* from = x + rowOf(rows, i) * rows.inner + column;
    for (int64_t c = 0; c < columns; c++) to[c] += from[c];
  }
}

template <class T>
void reduceSegmentsOf(const Rows& rows, Reduction reduction, int64_t begin, int64_t end, const T* x, T* out) {
  for (int64_t s = begin; s < end; s++) {
    const int64_t first = rows.offsets[s], last = rows.offsets[s + 1];
    T* __restrict to = out + s * rows.inner;
    if (first == last) {
      std::memset(to, 0, static_cast<size_t>(rows.inner) * sizeof(T));
      continue;
    }
    sumChunk(rows, first, last < first + kChunk ? last : first + kChunk, x, 0, rows.inner, to);
    for (int64_t chunk = first + kChunk; chunk < last; chunk += kChunk) {
      for (int64_t column = 0; column < rows.inner; column += kColumns) {
        const int64_t columns = rows.inner - column < kColumns ? rows.inner - column : kColumns;
        T sum[kColumns];
        sumChunk(rows, chunk, last < chunk + kChunk ? last : chunk + kChunk, x, column, columns, sum);
        for (int64_t c = 0; c < columns; c++) to[column + c] += sum[c];
      }
    }
    if (reduction == Reduction::sum || last - first == 1) continue;
    const T count = static_cast<T>(last - first);
    for (int64_t c = 0; c < rows.inner; c++) to[c] /= count;
  }
}

template <class T>
void spreadSegmentsOf(const Rows& rows, Reduction reduction, int64_t begin, int64_t end, const T* grad, const int32_t* chosen, T* __restrict out) {
  for (int64_t s = begin; s < end; s++) {
    const T count = reduction == Reduction::mean ? static_cast<T>(rows.offsets[s + 1] - rows.offsets[s]) : T(1);
    const T* from = grad + s * rows.inner;
    for (int64_t i = rows.offsets[s]; i < rows.offsets[s + 1]; i++) {
      const int64_t row = rowOf(rows, i);
      T* to = out + row * rows.inner;
      if (chosen) {
        const int32_t* own = chosen + s * rows.inner;
        for (int64_t c = 0; c < rows.inner; c++) to[c] = own[c] == static_cast<int32_t>(row) ? from[c] : T(0);
      } else if (count == 1) {
        std::memcpy(to, from, static_cast<size_t>(rows.inner) * sizeof(T));
      } else {
        for (int64_t c = 0; c < rows.inner; c++) to[c] = from[c] / count;
      }
    }
  }
}

template <class T>
void maxSegmentsOf(const Rows& rows, int64_t begin, int64_t end, const T* x, T* __restrict values, int32_t* __restrict from) {
  for (int64_t s = begin; s < end; s++) {
    T* best = values + s * rows.inner;
    int32_t* chosen = from + s * rows.inner;
    const auto first = static_cast<int32_t>(rowOf(rows, rows.offsets[s]));
    for (int64_t c = 0; c < rows.inner; c++) {
      best[c] = x[first * rows.inner + c];
      chosen[c] = first;
    }
    for (int64_t i = rows.offsets[s] + 1; i < rows.offsets[s + 1]; i++) {
      const auto row = static_cast<int32_t>(rowOf(rows, i));
      const T* at = x + row * rows.inner;
      for (int64_t c = 0; c < rows.inner; c++) {
        // Not (best >= at), so that NaN wins; a NaN that has won stays.
        const bool wins = !(best[c] >= at[c]) & (best[c] == best[c]);
        best[c] = wins ? at[c] : best[c];
        chosen[c] = wins ? row : chosen[c];
      }
    }
  }
}

}  // namespace

void reduceSegments(const Rows& rows, Reduction reduction, int64_t begin, int64_t end, const void* x, void* out) {
  if (rows.dtype == DType::f32) return reduceSegmentsOf(rows, reduction, begin, end, static_cast<const float*>(x), static_cast<float*>(out));
  reduceSegmentsOf(rows, reduction, begin, end, static_cast<const double*>(x), static_cast<double*>(out));
}

void spreadSegments(const Rows& rows, Reduction reduction, int64_t begin, int64_t end, const void* grad, const int32_t* chosen, void* out) {
  if (rows.dtype == DType::f32) return spreadSegmentsOf(rows, reduction, begin, end, static_cast<const float*>(grad), chosen, static_cast<float*>(out));
  spreadSegmentsOf(rows, reduction, begin, end, static_cast<const double*>(grad), chosen, static_cast<double*>(out));
}

void maxSegments(const Rows& rows, int64_t begin, int64_t end, const void* x, void* values, int32_t* from) {
  if (rows.dtype == DType::f32) return maxSegmentsOf(rows, begin, end, static_cast<const float*>(x), static_cast<float*>(values), from);
  maxSegmentsOf(rows, begin, end, static_cast<const double*>(x), static_cast<double*>(values), from);
}

}  // namespace md::segment::MD_ISA
