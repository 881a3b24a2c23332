#include "op.h"

#include <algorithm>

#include "cuda.h"

namespace md::softmax {
namespace {

constexpr int64_t kGrain = 1 << 12;

template <class Units>
void overUnits(Context& context, const AxisSplit& split, Units units) {
  const int64_t tiles = (split.inner + kTile - 1) / kTile;
  const int64_t elements = std::max<int64_t>(1, split.extent * std::min(split.inner, kTile));
  parallelForLater(context.pool, split.outer * tiles, std::max<int64_t>(1, kGrain / elements), units);
}

}  // namespace

Tensor softmax(Context& context, const Tensor& input, int64_t dim, bool log, const char* op) {
  requireFloat(input, op, "x");
  const int axis = resolveAxis(dim, input.rank(), op);
  const Tensor x = contiguous(context, input, op);
  Tensor out = empty(context, x.dtype, x.shape, op);
  if (x.numel() == 0) return out;
  const AxisSplit split = splitAt(x.shape, axis);
  if (context.onCuda()) {
    softmaxCuda(context, split, log, x, out, op);
    return out;
  }
  overUnits(context, split, [=, dtype = x.dtype, x = x.raw(), out = out.raw()](int64_t begin, int64_t end) {
    MD_CALL(softmaxUnits)(dtype, split, log, begin, end, x, out);
  });
  return out;
}

Tensor softmaxGrad(Context& context, const Tensor& output, const Tensor& gradient, int64_t dim, bool log, const char* op) {
  requireFloat(output, op, "y");
  requireDType(gradient, output.dtype, op, "grad");
  requireShape(gradient, output.shape, op, "grad");
  const int axis = resolveAxis(dim, output.rank(), op);
  const Tensor y = contiguous(context, output, op), grad = contiguous(context, gradient, op);
  Tensor out = empty(context, y.dtype, y.shape, op);
  if (y.numel() == 0) return out;
  const AxisSplit split = splitAt(y.shape, axis);
  if (context.onCuda()) {
    softmaxGradCuda(context, split, log, y, grad, out, op);
    return out;
  }
  overUnits(context, split, [=, dtype = y.dtype, y = y.raw(), grad = grad.raw(), out = out.raw()](int64_t begin, int64_t end) {
    MD_CALL(softmaxGradUnits)(dtype, split, log, begin, end, y, grad, out);
  });
  return out;
}

}  // namespace md::softmax
