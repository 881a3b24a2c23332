#include <cmath>

#include "op.h"
#include "rotate.h"

namespace md::rotary_embedding::MD_ISA {
namespace {

template <class T>
void tableTyped(const T* xyz, T* table, int64_t tokens, int64_t pairs, double scale, double base) {
  for (int64_t j = 0; j < pairs; j++) {
    const double theta = scale * std::pow(base, -static_cast<double>(j) / static_cast<double>(pairs));
    for (int64_t t = 0; t < tokens; t++) {
      for (int64_t axis = 0; axis < 3; axis++) {
        const double angle = static_cast<double>(xyz[3 * t + axis]) * theta;
        T* out = table + ((3 * t + axis) * pairs + j) * 2;
        out[0] = static_cast<T>(std::cos(angle));
        out[1] = static_cast<T>(std::sin(angle));
      }
    }
  }
}

template <class T>
void applyTyped(const RowLoop& loop, int64_t begin, int64_t end, const T* x, const T* table, T* out, T sign) {
  int64_t index[kMaxRank];
  for (int64_t axis = loop.rank - 1, rest = begin; axis >= 0; axis--) {
    index[axis] = rest % loop.extent[axis];
    rest /= loop.extent[axis];
    x += index[axis] * loop.x[axis];
    table += index[axis] * loop.table[axis];
    out += index[axis] * loop.out[axis];
  }
  for (int64_t row = begin; row < end; row++) {
    rotateRow(x, table, out, loop.pairs, loop.headDim, sign);
    for (int axis = loop.rank - 1; axis >= 0; axis--) {
      x += loop.x[axis];
      table += loop.table[axis];
      out += loop.out[axis];
      if (++index[axis] < loop.extent[axis]) break;
      index[axis] = 0;
      x -= loop.extent[axis] * loop.x[axis];
      table -= loop.extent[axis] * loop.table[axis];
      out -= loop.extent[axis] * loop.out[axis];
    }
  }
}

}  // namespace

void tableRange(DType dtype, const void* xyz, void* table, int64_t tokens, int64_t pairs, double scale, double base) {
  if (dtype == DType::f32) return tableTyped(static_cast<const float*>(xyz), static_cast<float*>(table), tokens, pairs, scale, base);
  tableTyped(static_cast<const double*>(xyz), static_cast<double*>(table), tokens, pairs, scale, base);
}

void applyRows(DType dtype, const RowLoop& loop, int64_t begin, int64_t end, const void* x, const void* table, void* out, bool inverse) {
  const int sign = inverse ? -1 : 1;
  if (dtype == DType::f32) {
    return applyTyped<float>(loop, begin, end, static_cast<const float*>(x), static_cast<const float*>(table), static_cast<float*>(out), sign);
  }
  applyTyped<double>(loop, begin, end, static_cast<const double*>(x), static_cast<const double*>(table), static_cast<double*>(out), sign);
}

}  // namespace md::rotary_embedding::MD_ISA
