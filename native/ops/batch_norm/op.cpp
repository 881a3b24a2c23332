#include "op.h"

#include "../reduce/op.h"
#include "cuda.h"

namespace md::batch_norm {
namespace {

constexpr int64_t kGrain = 1 << 13;

Layout layoutOf(const Tensor& x, const char* op) {
  requireFloat(x, op, "x");
  if (x.rank() < 2) fail(ErrorKind::shape, op, "x has shape ", x.shape.str(), ", expected [batch, channels, ...]");
  Layout layout{x.shape[0], x.shape[1], 1};
  for (int i = 2; i < x.rank(); i++) layout.spatial *= x.shape[i];
  return layout;
}

Tensor perChannel(Context& context, const Tensor* p, const Tensor& x, const char* op, const char* operand) {
  if (!p) return {};
  requireDType(*p, x.dtype, op, operand);
  requireShape(*p, Dims{x.shape[1]}, op, operand);
  return contiguous(context, *p, op);
}

const void* address(const Tensor& x) { return x.storage ? x.raw() : nullptr; }

template <class Chunks>
void overChunks(Context& context, const Layout& layout, Chunks chunks) {
  const int64_t elements = layout.chunkRows() * layout.channels * layout.spatial;
  parallelForLater(context.pool, layout.chunks(), kGrain / (elements + 1) + 1, chunks);
}

// One part that the next regions wait for.
template <class Body>
void once(Context& context, Body body) {
  shareOutLater(context.pool, 1, [=](int64_t, int64_t) { body(); });
}

// [channels] each: 1 / sqrt(variance + eps), that times the weight, and the bias.
struct Affine {
  Tensor rstd, scale, shift;
};

Affine affineOf(Context& context, const Layout& layout, const Tensor& variance, const Tensor& weight, const Tensor& bias, double eps, const char* op) {
  const Dims channels{layout.channels};
  const DType dtype = variance.dtype;
  Affine out{empty(context, dtype, channels, op), empty(context, dtype, channels, op), empty(context, dtype, channels, op)};
  once(context, [=, n = layout.channels, v = variance.raw(), w = address(weight), b = address(bias), rstd = out.rstd.raw(), scale = out.scale.raw(),
                 shift = out.shift.raw()] { MD_CALL(affine)(dtype, n, eps, v, w, b, rstd, scale, shift); });
  return out;
}

void requireEps(double eps, const char* op) {
  if (!(eps > 0)) fail(ErrorKind::value, op, "eps is ", eps, ", expected more than 0");
}

void batchStatistics(Context& context, const Layout& layout, const Tensor& x, const Output& out, const char* op) {
  const Tensor partial = empty(context, x.dtype, Dims{layout.chunks(), 2, layout.channels}, op);
  const DType dtype = x.dtype;
  overChunks(context, layout, [=, x = x.raw(), sums = partial.raw()](int64_t begin, int64_t end) { MD_CALL(statisticsChunks)(dtype, layout, begin, end, x, sums); });
  once(context, [=, sums = partial.raw(), mean = out.mean.raw(), variance = out.variance.raw()] { MD_CALL(combineStatistics)(dtype, layout, sums, mean, variance); });
}

/// The gradient of x; returns the sums over chunks [2, channels].
Tensor gradCpu(Context& context, const Layout& layout, double eps, const Tensor& x, const Tensor& m, const Tensor& v, const Tensor& weight,
               const Tensor& gradient, bool fromBatch, const Tensor& dx, const char* op) {
  const DType dtype = x.dtype;
  const Affine affine = affineOf(context, layout, v, weight, {}, eps, op);
  const Tensor partial = empty(context, dtype, Dims{layout.chunks(), 2, layout.channels}, op);
  const auto [from, mean, grad, rstd] = std::tuple{x.raw(), m.raw(), gradient.raw(), affine.rstd.raw()};
  overChunks(context, layout, [=, to = partial.raw()](int64_t begin, int64_t end) { MD_CALL(gradSumsChunks)(dtype, layout, begin, end, from, mean, rstd, grad, to); });
  const Tensor sums = reduce::reduce(context, reduce::Reduction::sum, partial, Dims{0}, false, op);
  overChunks(context, layout, [=, scale = affine.scale.raw(), added = fromBatch ? sums.raw() : nullptr, to = dx.raw()](int64_t begin, int64_t end) {
    MD_CALL(gradChunks)(dtype, layout, begin, end, from, mean, rstd, scale, grad, added, to);
  });
  return sums;
}

}  // namespace

Output batchNorm(Context& context, const Tensor& input, const Tensor* weight, const Tensor* bias, const Tensor* mean, const Tensor* variance,
                 double eps, const char* op) {
  const Layout layout = layoutOf(input, op);
  requireEps(eps, op);
  const Tensor x = contiguous(context, input, op);
  const Tensor w = perChannel(context, weight, x, op, "weight"), b = perChannel(context, bias, x, op, "bias");
  const Dims channels{layout.channels};
  Output out;
  if (mean && variance) {
    out.mean = perChannel(context, mean, x, op, "mean");
    out.variance = perChannel(context, variance, x, op, "variance");
  } else {
    if (layout.batch * layout.spatial < 2) fail(ErrorKind::shape, op, "x has shape ", x.shape.str(), ", expected at least 2 elements a channel");
    out.mean = empty(context, x.dtype, channels, op);
    out.variance = empty(context, x.dtype, channels, op);
    if (context.onCuda()) {
      statisticsCuda(context, layout, x, out.mean, out.variance, op);
    } else {
      batchStatistics(context, layout, x, out, op);
    }
  }
  out.y = empty(context, x.dtype, x.shape, op);
  if (context.onCuda()) {
    normalizeCuda(context, layout, eps, x, out.mean, out.variance, address(w), address(b), out.y, op);
    return out;
  }
  const Affine affine = affineOf(context, layout, out.variance, w, b, eps, op);
  overChunks(context, layout, [layout, dtype = x.dtype, x = x.raw(), mean = out.mean.raw(), scale = affine.scale.raw(), shift = affine.shift.raw(),
                               y = out.y.raw()](int64_t begin, int64_t end) { MD_CALL(normalizeChunks)(dtype, layout, begin, end, x, mean, scale, shift, y); });
  return out;
}

Gradients batchNormGrad(Context& context, const Tensor& input, const Tensor* weight, const Tensor& mean, const Tensor& variance,
                        const Tensor& gradient, double eps, bool fromBatch, const char* op) {
  const Layout layout = layoutOf(input, op);
  requireEps(eps, op);
  requireDType(gradient, input.dtype, op, "grad");
  requireShape(gradient, input.shape, op, "grad");
  const Tensor x = contiguous(context, input, op), grad = contiguous(context, gradient, op);
  const Tensor w = perChannel(context, weight, x, op, "weight"), m = perChannel(context, &mean, x, op, "mean");
  const Tensor v = perChannel(context, &variance, x, op, "variance");
  const Dims channels{layout.channels};
  Gradients out;
  out.x = empty(context, x.dtype, x.shape, op);
  Tensor sums;
  if (context.onCuda()) {
    sums = empty(context, x.dtype, Dims{2, layout.channels}, op);
    gradSumsCuda(context, layout, eps, x, m, v, grad, sums, op);
    gradCuda(context, layout, eps, x, m, v, address(w), grad, fromBatch ? sums.raw() : nullptr, out.x, op);
  } else {
    sums = gradCpu(context, layout, eps, x, m, v, w, grad, fromBatch, out.x, op);
  }
  out.weight = out.bias = sums;
  for (Tensor* t : {&out.weight, &out.bias}) {
    t->shape = channels;
    t->stride = Dims{1};
  }
  out.bias.offset += layout.channels;
  return out;
}

}  // namespace md::batch_norm
