#include "op.h"

#include <algorithm>

#include "cuda.h"

namespace md::layer_norm {
namespace {

constexpr int64_t kGrain = 1 << 13;

struct Rows {
  int64_t rows = 1, n = 1;
  Dims normalized;
};

Rows splitRows(const Tensor& x, int axes, const char* op) {
  if (axes < 1 || axes > x.rank()) fail(ErrorKind::shape, op, "x has shape ", x.shape.str(), ", expected at least ", std::max(axes, 1), " axes");
  Rows out;
  for (int i = 0; i < x.rank(); i++) {
    if (i < x.rank() - axes) {
      out.rows *= x.shape[i];
    } else {
      out.n *= x.shape[i];
      out.normalized.push(x.shape[i]);
    }
  }
  return out;
}

void requireParameter(const Tensor* p, const Tensor& x, const Dims& shape, const char* op, const char* operand) {
  if (!p) return;
  requireDType(*p, x.dtype, op, operand);
  requireShape(*p, shape, op, operand);
}

Tensor contiguousOrNone(Context& context, const Tensor* x, const char* op) { return x ? contiguous(context, *x, op) : Tensor{}; }

const void* address(const Tensor& x) { return x.storage ? x.raw() : nullptr; }

}  // namespace

Output layerNorm(Context& context, const Tensor& input, const Tensor* weight, const Tensor* bias, int axes, double eps, const char* op) {
  requireFloat(input, op, "x");
  if (!(eps > 0)) fail(ErrorKind::value, op, "eps is ", eps, ", expected more than 0");
  const Rows shape = splitRows(input, axes, op);
  requireParameter(weight, input, shape.normalized, op, "weight");
  requireParameter(bias, input, shape.normalized, op, "bias");
  const Tensor x = contiguous(context, input, op), w = contiguousOrNone(context, weight, op), b = contiguousOrNone(context, bias, op);
  Output out{empty(context, x.dtype, x.shape, op), empty(context, x.dtype, Dims{shape.rows}, op), empty(context, x.dtype, Dims{shape.rows}, op)};
  if (context.onCuda()) {
    layerNormCuda(context, shape.rows, shape.n, eps, x, address(w), address(b), out, op);
    return out;
  }
  parallelFor(context.pool, shape.rows, kGrain / (shape.n + 1) + 1, [&](int64_t begin, int64_t end) {
    MD_CALL(layerNormRows)(x.dtype, shape.n, eps, begin, end, x.raw(), address(w), address(b), out.y.raw(), out.mean.raw(), out.rstd.raw());
  });
  return out;
}

Gradients layerNormGrad(Context& context, const Tensor& input, const Tensor* weight, const Tensor& mean, const Tensor& rstd,
                        const Tensor& gradient, int axes, bool affine, const char* op) {
  requireFloat(input, op, "x");
  const Rows shape = splitRows(input, axes, op);
  requireParameter(weight, input, shape.normalized, op, "weight");
  requireParameter(&mean, input, Dims{shape.rows}, op, "mean");
  requireParameter(&rstd, input, Dims{shape.rows}, op, "rstd");
  requireParameter(&gradient, input, input.shape, op, "grad");
  const Tensor x = contiguous(context, input, op), grad = contiguous(context, gradient, op), w = contiguousOrNone(context, weight, op);
  const Tensor m = contiguous(context, mean, op), r = contiguous(context, rstd, op);
  const int64_t blocks = (shape.rows + kBlockRows - 1) / kBlockRows;
  Gradients out;
  out.x = empty(context, x.dtype, x.shape, op);
  if (context.onCuda()) {
    layerNormGradCuda(context, shape.rows, shape.n, x, address(w), m, r, grad, out.x, op);
    if (!affine) return out;
    out.weight = empty(context, x.dtype, shape.normalized, op);
    out.bias = empty(context, x.dtype, shape.normalized, op);
    layerNormAffineCuda(context, shape.rows, shape.n, x, m, r, grad, out.weight, out.bias, op);
    return out;
  }
  Tensor partial;
  if (affine) partial = empty(context, x.dtype, Dims{blocks, 2, shape.n}, op);
  parallelFor(context.pool, blocks, 1 + kGrain / (kBlockRows * (shape.n + 1)), [&](int64_t begin, int64_t end) {
    MD_CALL(layerNormGradBlocks)(x.dtype, shape.rows, shape.n, begin, end, x.raw(), address(w), m.raw(), r.raw(), grad.raw(), out.x.raw(),
                                 affine ? partial.raw() : nullptr);
  });
  if (!affine) return out;
  out.weight = empty(context, x.dtype, shape.normalized, op);
  out.bias = empty(context, x.dtype, shape.normalized, op);
  parallelFor(context.pool, shape.n, kGrain / (blocks + 1) + 1, [&](int64_t begin, int64_t end) {
    MD_CALL(layerNormCombine)(x.dtype, blocks, shape.n, begin, end, partial.raw(), out.weight.raw(), out.bias.raw());
  });
  return out;
}

}  // namespace md::layer_norm
