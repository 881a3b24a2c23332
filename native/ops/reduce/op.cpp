#include "op.h"

#include <algorithm>
#include <limits>

#include "../../core/views.h"
#include "../elementwise/op.h"
#include "cuda.h"

namespace md::reduce {
namespace {

constexpr int64_t kGrain = 1 << 14;       // elements below which a second thread costs more than it brings
constexpr int64_t kChunkElements = 1 << 15;

DType outputDType(Reduction kind, const Tensor& x, const char* op) {
  switch (kind) {
    case Reduction::sum:
      return isFloat(x.dtype) ? x.dtype : DType::i64;
    case Reduction::mean:
      requireFloat(x, op, "x");
      return x.dtype;
    case Reduction::any:
    case Reduction::all:
      requireDType(x, DType::boolean, op, "x");
      return x.dtype;
    default:
      if (x.dtype == DType::boolean) fail(ErrorKind::dtype, op, "x has dtype bool, expected a number");
      return x.dtype;
  }
}

// Chunks depend on the shape alone, never on the number of threads.
Pass planPass(Reduction kind, DType dtype, const AxisSplit& split, double divisor) {
  Pass pass{kind, dtype, split, split.extent, 1, (split.inner + kTile - 1) / kTile, divisor};
  const int64_t width = std::min(split.inner, kTile);
  const int64_t rows = std::max<int64_t>(kChunkElements / width, 64);
  if (split.outer * pass.tiles < 16 && split.extent > rows) {
    pass.chunkRows = rows;
    pass.chunks = (split.extent + rows - 1) / rows;
  }
  return pass;
}

void runPass(Context& context, const Pass& pass, const void* x, void* out, const char* op) {
  if (context.onCuda()) return reduceCuda(context, pass.kind, pass.dtype, pass.split, pass.divisor, x, out, op);
  const AxisSplit& split = pass.split;
  const int64_t units = split.outer * pass.chunks * pass.tiles;
  const int64_t unitElements = std::max<int64_t>(pass.chunkRows * std::min(split.inner, kTile), 1);
  Tensor partial;
  if (pass.chunks > 1) {
    const bool wide = accumulatorBytes(pass.kind, pass.dtype) == 8;
    partial = empty(context, wide ? DType::f64 : pass.dtype, Dims{split.outer, pass.chunks, split.inner}, op);
  }
  void* accumulators = pass.chunks > 1 ? partial.raw() : nullptr;
  parallelForLater(context.pool, units, std::max<int64_t>(1, kGrain / unitElements), [=](int64_t begin, int64_t end) {
    MD_CALL(unitRange)(pass, begin, end, x, out, accumulators);
  });
  if (pass.chunks == 1) return;
  for (int64_t outer = 0; outer < split.outer; outer++) {
    parallelForLater(context.pool, split.inner, std::max<int64_t>(1, kGrain / pass.chunks), [=](int64_t begin, int64_t end) {
      MD_CALL(combineRange)(pass, outer, begin, end, accumulators, out);
    });
  }
}

// The result where nothing is reduced over: the neutral element.
Tensor neutral(Context& context, Reduction kind, DType dtype, const Dims& shape, const char* op) {
  if (shape.numel() == 0) return empty(context, dtype, shape, op);
  if (kind == Reduction::amax || kind == Reduction::amin) fail(ErrorKind::value, op, "the reduced axes have no element, expected at least one");
  const double mean = std::numeric_limits<double>::quiet_NaN();
  return elementwise::full(context, dtype, shape, kind == Reduction::mean ? mean : kind == Reduction::all, op);
}

// The axes by descending stride: a transposed view is reduced in the order in which it lies in memory.
Dims memoryOrder(const Tensor& x) {
  Dims order;
  for (int i = 0; i < x.rank(); i++) order.push(i);
  std::stable_sort(order.d.begin(), order.d.begin() + order.rank, [&](int64_t a, int64_t b) {
    return x.stride[static_cast<int>(a)] > x.stride[static_cast<int>(b)];
  });
  return order;
}

}  // namespace

Tensor reduce(Context& context, Reduction kind, const Tensor& x, const Dims& axes, bool keepdim, const char* op) {
  const DType dtype = outputDType(kind, x, op);
  bool reduced[kMaxRank] = {};
  for (int i = 0; i < axes.rank; i++) {
    const int axis = resolveAxis(axes[i], x.rank(), op);
    if (reduced[axis]) fail(ErrorKind::shape, op, "axes ", axes.str(), " name axis ", axis, " twice");
    reduced[axis] = true;
  }
  Dims shape;
  int64_t count = 1;
  for (int i = 0; i < x.rank(); i++) {
    if (reduced[i]) count *= x.shape[i];
    if (!reduced[i] || keepdim) shape.push(reduced[i] ? 1 : x.shape[i]);
  }
  if (x.numel() == 0) return neutral(context, kind, dtype, shape, op);

  Dims order = memoryOrder(x);
  Tensor current = permuteView(x, order, op);
  if (!current.contiguous()) {
    current = contiguous(context, x, op);
    for (int i = 0; i < x.rank(); i++) order[i] = i;
  }

  // Neighbouring reduced axes go in one pass, the innermost group first.
  Dims extents;
  bool groupReduced[kMaxRank] = {};
  int passes = 0;
  for (int i = 0; i < x.rank(); i++) {
    if (current.shape[i] == 1) continue;
    const bool r = reduced[order[i]];
    if (extents.rank > 0 && groupReduced[extents.rank - 1] == r) {
      extents[extents.rank - 1] *= current.shape[i];
    } else {
      groupReduced[extents.rank] = r;
      extents.push(current.shape[i]);
      passes += r;
    }
  }
  const double divisor = kind == Reduction::mean ? static_cast<double>(count) : 1.0;
  if (passes == 0) {
    Tensor out = empty(context, dtype, Dims{current.numel()}, op);
    runPass(context, planPass(kind, current.dtype, {1, 1, current.numel()}, divisor), current.raw(), out.raw(), op);
    current = out;
  }
  for (int group = extents.rank - 1; group >= 0; group--) {
    if (!groupReduced[group]) continue;
    const AxisSplit split = splitAt(extents, group);
    Tensor out = empty(context, dtype, Dims{split.outer * split.inner}, op);
    runPass(context, planPass(kind, current.dtype, split, --passes == 0 ? divisor : 1.0), current.raw(), out.raw(), op);
    current = out;
    extents[group] = 1;
  }

  // Kept axes back from the order in memory to the logical one.
  Dims kept, back;
  int64_t position[kMaxRank] = {};
  for (int i = 0; i < x.rank(); i++) {
    const int axis = static_cast<int>(order[i]);
    if (reduced[axis]) continue;
    position[axis] = kept.rank;
    kept.push(x.shape[axis]);
  }
  for (int axis = 0; axis < x.rank(); axis++)
    if (!reduced[axis]) back.push(position[axis]);
  current.shape = kept;
  current.stride = contiguousStrides(kept);
  Tensor out = contiguous(context, permuteView(current, back, op), op);
  out.shape = shape;
  out.stride = contiguousStrides(shape);
  return out;
}

Tensor argExtreme(Context& context, Extreme kind, const Tensor& input, int64_t dim, bool keepdim, const char* op) {
  if (input.dtype == DType::boolean) fail(ErrorKind::dtype, op, "x has dtype bool, expected a number");
  const int axis = resolveAxis(dim, input.rank(), op);
  Dims shape;
  for (int i = 0; i < input.rank(); i++)
    if (i != axis || keepdim) shape.push(i == axis ? 1 : input.shape[i]);
  Tensor out = empty(context, DType::i64, shape, op);
  if (out.numel() == 0) return out;
  if (input.shape[axis] == 0) fail(ErrorKind::value, op, "axis ", axis, " of shape ", input.shape.str(), " has no element");
  const Tensor x = contiguous(context, input, op);
  const AxisSplit split = splitAt(x.shape, axis);
  if (context.onCuda()) {
    argExtremeCuda(context, kind, split, x, out, op);
    return out;
  }
  parallelForLater(context.pool, split.outer, std::max<int64_t>(1, kGrain / (split.extent * split.inner)),
                   [=, dtype = x.dtype, x = x.raw(), out = out.data<int64_t>()](int64_t begin, int64_t end) { MD_CALL(argRange)(kind, dtype, split, begin, end, x, out); });
  return out;
}

}  // namespace md::reduce
