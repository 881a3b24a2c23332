// Reductions over any set of axes, and the position of the extreme element along one axis.
#pragma once
#include "../../core/axis.h"
#include "../../core/context.h"
#include "../../isa/isa.h"

namespace md::reduce {

/// Order shared with `reductions` in packages/tensor/src/ops/reduce.ts.
enum class Reduction : int32_t { sum, mean, amax, amin, any, all, count };

/// Order shared with `extremes` in packages/tensor/src/ops/reduce.ts.
enum class Extreme : int32_t { argmax, argmin, count };

/// Reduces `axes` (all distinct; negative counts from the end); `keepdim` leaves them with extent 1.
/// sum: floats keep their dtype, integers and bool give i64; mean: floats; amax, amin: any number; any, all: bool.
/// f32 is summed in blocks of at most 2048 with f64 across them; the bits do not depend on the number of threads.
/// An empty reduction gives 0, NaN, ValueError, ValueError, false, true. NaN wins in amax and amin.
Tensor reduce(Context& context, Reduction kind, const Tensor& x, const Dims& axes, bool keepdim, const char* op);

/// i64 index of the first extreme element along `axis`; the first NaN wins. ValueError for an extent of 0.
Tensor argExtreme(Context& context, Extreme kind, const Tensor& x, int64_t axis, bool keepdim, const char* op);

// Kernels of cpu.cpp.

/// [outer, extent, inner] to [outer, inner], cut into units of (outer, chunk of rows, tile of columns).
struct Pass {
  Reduction kind;
  DType dtype;  // of x
  AxisSplit split;
  int64_t chunkRows;  // rows of one unit
  int64_t chunks;     // units along the axis
  int64_t tiles;      // units along the columns, kTile wide
  double divisor;     // 1, or the number of reduced elements for a mean
};
constexpr int64_t kTile = 512;

/// Bytes of one accumulator: f64 for float sums, i64 for integer sums, the dtype itself for extremes.
inline size_t accumulatorBytes(Reduction kind, DType dtype) {
  return kind == Reduction::sum || kind == Reduction::mean ? 8 : itemSize(dtype);
}

/// Units [begin, end): with one chunk straight into `out`, else accumulators into `partial` [outer, chunks, inner].
MD_KERNEL(void, unitRange, const Pass& pass, int64_t begin, int64_t end, const void* x, void* out, void* partial)
/// Combines `partial` in the order of the chunks, for columns [begin, end) of one outer index.
MD_KERNEL(void, combineRange, const Pass& pass, int64_t outer, int64_t begin, int64_t end, const void* partial, void* out)
/// Outer indices [begin, end).
MD_KERNEL(void, argRange, Extreme kind, DType dtype, const AxisSplit& split, int64_t begin, int64_t end, const void* x, int64_t* out)

}  // namespace md::reduce
