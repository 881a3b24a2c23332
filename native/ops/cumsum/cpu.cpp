#include "op.h"

namespace md::cumsum::MD_ISA {
namespace {

template <class T, class Sum>
void cumsumOf(const T* x, const AxisSplit& split, bool reverse, int64_t begin, int64_t end, T* out) {
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
