#include "op.h"

#include <algorithm>

#include "cuda.h"

namespace md::conv2d {
namespace {

constexpr int64_t kTileElements = 1 << 17;  // patch × tile: half of a second-level cache in f32

int64_t outputExtent(int64_t extent, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation, const char* op) {
  const int64_t span = dilation * (kernel - 1) + 1, padded = extent + 2 * padding;
  if (span > padded) fail(ErrorKind::shape, op, "the kernel spans ", span, " pixels of an image of ", padded, " with its padding");
  return (padded - span) / stride + 1;
}

Conv describe(DType dtype, const Dims& x, const Dims& weight, const Options& o, const char* op) {
  if (x.rank != 4) fail(ErrorKind::shape, op, "x has shape ", x.str(), ", expected [batch, channels, height, width]");
  if (weight.rank != 4) fail(ErrorKind::shape, op, "weight has shape ", weight.str(), ", expected [out, in / groups, kernelY, kernelX]");
  constexpr int64_t kMost = 1 << 20;
  for (int64_t value : {o.strideY, o.strideX, o.dilationY, o.dilationX, o.groups, weight[2], weight[3]}) {
    if (value < 1 || value > kMost) fail(ErrorKind::value, op, "stride, dilation, groups and kernel are 1 to 2^20, found ", value);
  }
  for (int64_t value : {o.paddingY, o.paddingX}) {
    if (value < 0 || value > kMost) fail(ErrorKind::value, op, "padding is 0 to 2^20, found ", value);
  }
  if (weight[0] % o.groups != 0 || x[1] != weight[1] * o.groups) {
    fail(ErrorKind::shape, op, "weight has shape ", weight.str(), ", which does not fit ", o.groups, " groups of x ", x.str());
  }
  Conv conv{dtype, x[0], weight[1], x[2], x[3], weight[0] / o.groups, 0, 0, weight[2], weight[3], o, 1, 1};
  conv.outHeight = outputExtent(x[2], weight[2], o.strideY, o.paddingY, o.dilationY, op);
  conv.outWidth = outputExtent(x[3], weight[3], o.strideX, o.paddingX, o.dilationX, op);
  const int64_t fitting = kTileElements / std::max<int64_t>(conv.patch(), 1);
  conv.tile = std::clamp<int64_t>(fitting / 16 * 16, 64, 1024);
  conv.tile = std::max<int64_t>(1, std::min(conv.tile, conv.positions()));
  return conv;
}

Dims outputShape(const Conv& conv) { return {conv.batch, conv.out * conv.options.groups, conv.outHeight, conv.outWidth}; }

// units(begin, end, scratch of the thread)
template <class Units>
void overUnits(Context& context, const Conv& conv, Product product, int64_t count, const char* op, Units units) {
  if (count == 0) return;
  const int64_t threads = context.pool.threads(), parts = partsOf(context.pool, count, 1);
  const int64_t each = MD_CALL(scratchElements)(conv, product);
  const Tensor scratch = empty(context, conv.dtype, Dims{std::min(parts, threads), each}, op);
  shareOutLater(context.pool, parts, [=, base = scratch.data<char>(), bytes = each * static_cast<int64_t>(itemSize(conv.dtype))](int64_t part, int64_t thread) {
    units(cutAt(count, part, parts, threads), cutAt(count, part + 1, parts, threads), base + thread * bytes);
  });
}

// Enough blocks for all threads where items and groups alone are too few; no sum depends on the number.
int64_t blocksFor(Context& context, int64_t units, int64_t most) {
  const int64_t wanted = 2 * context.pool.threads();
  return std::clamp<int64_t>((wanted + units - 1) / std::max<int64_t>(units, 1), 1, std::max<int64_t>(most, 1));
}

}  // namespace

Tensor conv2d(Context& context, const Tensor& input, const Tensor& kernel, const Tensor* offset, const Options& options, const char* op) {
  requireFloat(input, op, "x");
  requireDType(kernel, input.dtype, op, "weight");
  const Conv conv = describe(input.dtype, input.shape, kernel.shape, options, op);
  const Tensor x = contiguous(context, input, op), weight = contiguous(context, kernel, op);
  Tensor bias;
  if (offset) {
    requireDType(*offset, input.dtype, op, "bias");
    requireShape(*offset, Dims{kernel.shape[0]}, op, "bias");
    bias = contiguous(context, *offset, op);
  }
  Tensor y = empty(context, x.dtype, outputShape(conv), op);
  if (context.onCuda()) {
    outputCuda(context, conv, x, weight, offset ? bias.raw() : nullptr, y, op);
    return y;
  }
  overUnits(context, conv, Product::output, conv.batch * options.groups * conv.tiles(), op,
            [=, x = x.raw(), weight = weight.raw(), bias = offset ? bias.raw() : nullptr, y = y.raw()](int64_t begin, int64_t end, void* scratch) {
              MD_CALL(outputUnits)(conv, begin, end, x, weight, bias, y, scratch);
            });
  return y;
}

Tensor conv2dInputGrad(Context& context, const Tensor& gradient, const Tensor& kernel, const Dims& inputShape, const Options& options, const char* op) {
  requireFloat(gradient, op, "grad");
  requireDType(kernel, gradient.dtype, op, "weight");
  Conv conv = describe(gradient.dtype, inputShape, kernel.shape, options, op);
  requireShape(gradient, outputShape(conv), op, "grad");
  const Tensor grad = contiguous(context, gradient, op), weight = contiguous(context, kernel, op);
  Tensor dx = empty(context, grad.dtype, inputShape, op);
  if (context.onCuda()) {
    inputGradCuda(context, conv, grad, weight, dx, op);
    return dx;
  }
  conv.blocks = blocksFor(context, conv.batch * options.groups, conv.in);
  overUnits(context, conv, Product::inputGrad, conv.batch * options.groups * conv.blocks, op,
            [=, grad = grad.raw(), weight = weight.raw(), dx = dx.raw()](int64_t begin, int64_t end, void* scratch) {
              MD_CALL(inputGradUnits)(conv, begin, end, grad, weight, dx, scratch);
            });
  return dx;
}

Tensor conv2dWeightGrad(Context& context, const Tensor& gradient, const Tensor& input, const Dims& weightShape, const Options& options, const char* op) {
  requireFloat(gradient, op, "grad");
  requireDType(input, gradient.dtype, op, "x");
  Conv conv = describe(gradient.dtype, input.shape, weightShape, options, op);
  requireShape(gradient, outputShape(conv), op, "grad");
  const Tensor grad = contiguous(context, gradient, op), x = contiguous(context, input, op);
  Tensor dWeight = empty(context, grad.dtype, weightShape, op);
  if (context.onCuda()) {
    weightGradCuda(context, conv, grad, x, dWeight, op);
    return dWeight;
  }
  conv.blocks = blocksFor(context, options.groups, conv.patch());
  overUnits(context, conv, Product::weightGrad, options.groups * conv.blocks, op,
            [=, grad = grad.raw(), x = x.raw(), dWeight = dWeight.raw()](int64_t begin, int64_t end, void* scratch) {
              MD_CALL(weightGradUnits)(conv, begin, end, grad, x, dWeight, scratch);
            });
  return dWeight;
}

}  // namespace md::conv2d
