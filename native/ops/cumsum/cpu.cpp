#include "op.h"

namespace md::cumsum::MD_ISA {
namespace {

// Rows along the last axis, Rows at a time: one sum alone would wait for its own last addition at every element.
template <int Rows, class T, class Sum>
void cumsumRows(const T* x, int64_t extent, bool reverse, T* out) {
  Sum sum[Rows] = {};
  for (int64_t i = 0; i < extent; i++) {
    const int64_t at = reverse ? extent - 1 - i : i;
    for (int r = 0; r < Rows; r++) {
      sum[r] += x[r * extent + at];
      out[r * extent + at] = static_cast<T>(sum[r]);
    }
  }
}

template <class T, class Sum>
void cumsumOf(const T* x, const AxisSplit& split, bool reverse, int64_t begin, int64_t end, T* out) {
  if (split.inner == 1) {
    constexpr int kRows = 4;
    int64_t row = begin;
    for (; row + kRows <= end; row += kRows) cumsumRows<kRows, T, Sum>(x + row * split.extent, split.extent, reverse, out + row * split.extent);
    for (; row < end; row++) cumsumRows<1, T, Sum>(x + row * split.extent, split.extent, reverse, out + row * split.extent);
    return;
  }
  const int64_t tiles = (split.inner + kTile - 1) / kTile;
  for (int64_t unit = begin; unit < end; unit++) {
    const int64_t first = unit % tiles * kTile, left = split.inner - first, columns = left < kTile ? left : kTile;
    const int64_t base = unit / tiles * split.extent * split.inner + first;
    Sum sum[kTile] = {};
    for (int64_t i = 0; i < split.extent; i++) {
      const int64_t row = base + (reverse ? split.extent - 1 - i : i) * split.inner;
      for (int64_t c = 0; c < columns; c++) {
        sum[c] += x[row + c];
        out[row + c] = static_cast<T>(sum[c]);
      }
    }
  }
}

}  // namespace

void cumsumUnits(DType dtype, const void* x, const AxisSplit& split, bool reverse, int64_t begin, int64_t end, void* out) {
  if (dtype == DType::f32) return cumsumOf<float, double>(static_cast<const float*>(x), split, reverse, begin, end, static_cast<float*>(out));
  if (dtype == DType::f64) return cumsumOf<double, double>(static_cast<const double*>(x), split, reverse, begin, end, static_cast<double*>(out));
  // Unsigned, so that an overflow wraps.
  cumsumOf<uint64_t, uint64_t>(static_cast<const uint64_t*>(x), split, reverse, begin, end, static_cast<uint64_t*>(out));
}

}  // namespace md::cumsum::MD_ISA
