#include "op.h"

#include <algorithm>
#include <atomic>

#include "cuda.h"

namespace md::pool2d {
namespace {

constexpr int64_t kGrain = 1 << 13;

int64_t outputExtent(int64_t extent, int64_t kernel, int64_t stride, int64_t padding, const char* op) {
  if (kernel > extent + 2 * padding) fail(ErrorKind::shape, op, "a kernel of ", kernel, " exceeds an image of ", extent + 2 * padding, " with its padding");
  return (extent + 2 * padding - kernel) / stride + 1;
}

Plane describe(DType dtype, const Dims& x, const Options& o, const char* op) {
  if (x.rank != 4) fail(ErrorKind::shape, op, "x has shape ", x.str(), ", expected [batch, channels, height, width]");
  constexpr int64_t kMost = 1 << 20;
  for (int64_t value : {o.kernelY, o.kernelX, o.strideY, o.strideX}) {
    if (value < 1 || value > kMost) fail(ErrorKind::value, op, "kernel and stride are 1 to 2^20, found ", value);
  }
  if (o.paddingY < 0 || o.paddingX < 0 || 2 * o.paddingY > o.kernelY || 2 * o.paddingX > o.kernelX) {
    fail(ErrorKind::value, op, "padding is 0 to half of the kernel, found ", o.paddingY, " and ", o.paddingX, " for ", o.kernelY, " and ", o.kernelX);
  }
  return {dtype, x[2], x[3], outputExtent(x[2], o.kernelY, o.strideY, o.paddingY, op), outputExtent(x[3], o.kernelX, o.strideX, o.paddingX, op), o};
}

Dims outputShape(const Dims& x, const Plane& plane) { return {x[0], x[1], plane.outHeight, plane.outWidth}; }

template <class Planes>
void overPlanes(Context& context, const Dims& shape, const Plane& plane, Planes&& planes) {
  parallelFor(context.pool, shape[0] * shape[1], 1 + kGrain / (plane.height * plane.width + 1), planes);
}

}  // namespace

MaxOutput maxPool2d(Context& context, const Tensor& input, const Options& options, const char* op) {
  requireFloat(input, op, "x");
  const Plane plane = describe(input.dtype, input.shape, options, op);
  if (plane.height * plane.width > INT32_MAX) fail(ErrorKind::shape, op, "x has shape ", input.shape.str(), ", expected less than 2^31 pixels");
  const Tensor x = contiguous(context, input, op);
  const Dims shape = outputShape(x.shape, plane);
  MaxOutput out{empty(context, x.dtype, shape, op), empty(context, DType::i32, shape, op)};
  if (context.onCuda()) {
    maxCuda(context, plane, x, out, op);
    return out;
  }
  overPlanes(context, x.shape, plane, [&](int64_t begin, int64_t end) {
    MD_CALL(maxPlanes)(plane, begin, end, x.raw(), out.y.raw(), out.indices.data<int32_t>());
  });
  return out;
}

Tensor maxPool2dGrad(Context& context, const Tensor& gradient, const Tensor& chosen, const Dims& inputShape, const char* op) {
  requireFloat(gradient, op, "grad");
  requireRank(gradient, 4, op, "grad");
  requireDType(chosen, DType::i32, op, "indices");
  requireShape(chosen, gradient.shape, op, "indices");
  if (inputShape.rank != 4 || inputShape[0] != gradient.shape[0] || inputShape[1] != gradient.shape[1]) {
    fail(ErrorKind::shape, op, "x has shape ", inputShape.str(), ", expected the items and channels of ", gradient.shape.str());
  }
  const Tensor grad = contiguous(context, gradient, op), indices = contiguous(context, chosen, op);
  const Plane plane{grad.dtype, inputShape[2], inputShape[3], grad.shape[2], grad.shape[3], {}};
  Tensor dx = empty(context, grad.dtype, inputShape, op);
  if (context.onCuda()) {
    maxGradCuda(context, plane, grad, indices, dx, op);
    return dx;
  }
  std::atomic<bool> inside{true};
  overPlanes(context, inputShape, plane, [&](int64_t begin, int64_t end) {
    if (!MD_CALL(maxGradPlanes)(plane, begin, end, grad.raw(), indices.data<int32_t>(), dx.raw())) inside = false;
  });
  if (!inside) fail(ErrorKind::value, op, "indices hold one outside of the ", plane.height, " x ", plane.width, " pixels");
  return dx;
}

Tensor avgPool2d(Context& context, const Tensor& input, const Options& options, const char* op) {
  requireFloat(input, op, "x");
  const Plane plane = describe(input.dtype, input.shape, options, op);
  const Tensor x = contiguous(context, input, op);
  Tensor y = empty(context, x.dtype, outputShape(x.shape, plane), op);
  if (context.onCuda()) {
    avgCuda(context, plane, x, y, op);
    return y;
  }
  overPlanes(context, x.shape, plane, [&](int64_t begin, int64_t end) { MD_CALL(avgPlanes)(plane, begin, end, x.raw(), y.raw()); });
  return y;
}

Tensor avgPool2dGrad(Context& context, const Tensor& gradient, const Dims& inputShape, const Options& options, const char* op) {
  requireFloat(gradient, op, "grad");
  const Plane plane = describe(gradient.dtype, inputShape, options, op);
  requireShape(gradient, outputShape(inputShape, plane), op, "grad");
  const Tensor grad = contiguous(context, gradient, op);
  Tensor dx = empty(context, grad.dtype, inputShape, op);
  if (context.onCuda()) {
    avgGradCuda(context, plane, grad, dx, op);
    return dx;
  }
  overPlanes(context, inputShape, plane, [&](int64_t begin, int64_t end) { MD_CALL(avgGradPlanes)(plane, begin, end, grad.raw(), dx.raw()); });
  return dx;
}

}  // namespace md::pool2d
