#include "op.h"

#include "../reduce/op.h"
#include "cuda.h"

namespace md::group_norm {
namespace {

constexpr int64_t kGrain = 1 << 13;

Layout layoutOf(const Tensor& x, int64_t groups, const char* op) {
  requireFloat(x, op, "x");
  if (x.rank() < 2) fail(ErrorKind::shape, op, "x has shape ", x.shape.str(), ", expected [batch, channels, ...]");
  if (groups < 1 || x.shape[1] % groups != 0) fail(ErrorKind::shape, op, groups, " groups do not divide the ", x.shape[1], " channels of x ", x.shape.str());
  Layout layout{x.shape[0], x.shape[1], groups, 1};
  for (int i = 2; i < x.rank(); i++) layout.spatial *= x.shape[i];
  return layout;
}

Tensor parameter(Context& context, const Tensor* p, const Tensor& x, const char* op, const char* operand) {
  if (!p) return {};
  requireDType(*p, x.dtype, op, operand);
  requireShape(*p, Dims{x.shape[1]}, op, operand);
  return contiguous(context, *p, op);
}

const void* address(const Tensor& x) { return x.storage ? x.raw() : nullptr; }

int64_t grainOf(const Layout& layout) { return kGrain / (layout.channels / layout.groups * layout.spatial + 1) + 1; }

}  // namespace

Output groupNorm(Context& context, const Tensor& input, const Tensor* weight, const Tensor* bias, int64_t groups, double eps, const char* op) {
  const Layout layout = layoutOf(input, groups, op);
  if (!(eps > 0)) fail(ErrorKind::value, op, "eps is ", eps, ", expected more than 0");
  const Tensor x = contiguous(context, input, op);
  const Tensor w = parameter(context, weight, x, op, "weight"), b = parameter(context, bias, x, op, "bias");
  const Dims statistics{layout.batch, groups};
  Output out{empty(context, x.dtype, x.shape, op), empty(context, x.dtype, statistics, op), empty(context, x.dtype, statistics, op)};
  if (context.onCuda()) {
    groupNormCuda(context, layout, eps, x, address(w), address(b), out, op);
    return out;
  }
  parallelFor(context.pool, layout.batch * groups, grainOf(layout), [&](int64_t begin, int64_t end) {
    MD_CALL(groupNormUnits)(x.dtype, layout, eps, begin, end, x.raw(), address(w), address(b), out.y.raw(), out.mean.raw(), out.rstd.raw());
  });
  return out;
}

Gradients groupNormGrad(Context& context, const Tensor& input, const Tensor* weight, const Tensor& mean, const Tensor& rstd,
                        const Tensor& gradient, int64_t groups, bool affine, const char* op) {
  const Layout layout = layoutOf(input, groups, op);
  const Dims statistics{layout.batch, groups};
  for (const Tensor* t : {&mean, &rstd}) {
    requireDType(*t, input.dtype, op, "statistics");
    requireShape(*t, statistics, op, "statistics");
  }
  requireDType(gradient, input.dtype, op, "grad");
  requireShape(gradient, input.shape, op, "grad");
  const Tensor x = contiguous(context, input, op), grad = contiguous(context, gradient, op);
  const Tensor m = contiguous(context, mean, op), r = contiguous(context, rstd, op), w = parameter(context, weight, x, op, "weight");
  Gradients out;
  out.x = empty(context, x.dtype, x.shape, op);
  if (context.onCuda()) {
    groupNormGradCuda(context, layout, x, address(w), m, r, grad, out.x, op);
    if (!affine) return out;
    out.weight = empty(context, x.dtype, {layout.channels}, op);
    out.bias = empty(context, x.dtype, {layout.channels}, op);
    groupNormAffineCuda(context, layout, x, m, r, grad, out.weight, out.bias, op);
    return out;
  }
  Tensor partial = empty(context, x.dtype, Dims{layout.batch, 2, layout.channels}, op);
  parallelFor(context.pool, layout.batch * groups, grainOf(layout), [&](int64_t begin, int64_t end) {
    MD_CALL(groupNormGradUnits)(x.dtype, layout, begin, end, x.raw(), address(w), m.raw(), r.raw(), grad.raw(), out.x.raw(), partial.raw());
  });
  if (!affine) return out;
  const Tensor sums = reduce::reduce(context, reduce::Reduction::sum, partial, Dims{0}, false, op);
  out.weight = out.bias = sums;
  for (Tensor* t : {&out.weight, &out.bias}) {
    t->shape = Dims{layout.channels};
    t->stride = Dims{1};
  }
  out.bias.offset += layout.channels;
  return out;
}

}  // namespace md::group_norm
