#include "op.h"

#include <algorithm>

#include "../../core/views.h"
#include "../elementwise/op.h"
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

/// Rows of x that one scale serves.
int64_t rowsEach(const Tensor& scale, const Tensor& x, int axes, const char* op) {
  requireDType(scale, x.dtype, op, "scale");
  const int lead = scale.rank() - axes, leadOfX = x.rank() - axes;
  bool fits = lead >= 0 && lead <= leadOfX;
  for (int i = 0; fits && i < scale.rank(); i++) fits = scale.shape[i] == x.shape[i < lead ? i : i - lead + leadOfX];
  if (!fits) {
    fail(ErrorKind::shape, op, "scale has shape ", scale.shape.str(), ", expected some of the first ", leadOfX, " axes, then the last ", axes, " of x ", x.shape.str());
  }
  int64_t rows = 1;
  for (int i = lead; i < leadOfX; i++) rows *= x.shape[i];
  return rows;
}

/// Blocks of at most kBlockRows rows that end where a scale does, or hold several scales' rows.
Blocks cut(int64_t rows, int64_t rowsEach) {
  if (rows == 0) return {0, 1, 1, 1, 0};
  if (rowsEach > kBlockRows) {
    const int64_t each = (rowsEach + kBlockRows - 1) / kBlockRows;
    return {rows, rowsEach, each, kBlockRows, rows / rowsEach * each};
  }
  const int64_t step = kBlockRows / rowsEach * rowsEach;
  return {rows, step, 1, step, (rows + step - 1) / step};
}

Tensor contiguousOrNone(Context& context, const Tensor* x, const char* op) { return x ? contiguous(context, *x, op) : Tensor{}; }

const void* address(const Tensor& x) { return x.storage ? x.raw() : nullptr; }

/// Scales or shifts as rows of n elements that lie side by side; the rows may have any stride.
Tensor asRows(Context& context, const Tensor& x, int64_t n, int axes, const char* op) {
  int64_t rows = 1;
  for (int i = 0; i + axes < x.rank(); i++) rows *= x.shape[i];
  const Tensor view = reshapeView(context, x, {rows, n}, op);
  return n > 1 && view.stride[1] != 1 ? contiguous(context, view, op) : view;
}

/// The operands, checked, as rows; what is absent has no storage.
struct Prepared {
  Rows shape;
  Tensor x, weight, bias, scale, shift;
  Modulation modulation;

  Prepared(Context& context, const Operands& o, const char* op)
      : shape(splitRows(o.x, o.axes, op)) {
    requireParameter(o.weight, o.x, shape.normalized, op, "weight");
    requireParameter(o.bias, o.x, shape.normalized, op, "bias");
    if (o.scale) modulation.rowsEach = rowsEach(*o.scale, o.x, o.axes, op);
    if (o.shift) requireParameter(o.shift, o.x, o.scale->shape, op, "shift");
    x = contiguous(context, o.x, op);
    weight = contiguousOrNone(context, o.weight, op);
    bias = contiguousOrNone(context, o.bias, op);
    if (!o.scale) return;
    scale = asRows(context, *o.scale, shape.n, o.axes, op);
    modulation.scale = scale.raw();
    modulation.scaleStride = scale.stride[0];
    if (o.shift) {
      shift = asRows(context, *o.shift, shape.n, o.axes, op);
      modulation.shift = shift.raw();
      modulation.shiftStride = shift.stride[0];
    }
    if (context.onCuda()) return;
    if (!o.weight) weight = elementwise::full(context, x.dtype, {shape.n}, 1, op);
    if (!o.bias) bias = elementwise::full(context, x.dtype, {shape.n}, 0, op);
  }
};

}  // namespace

Output layerNorm(Context& context, const Operands& operands, double eps, const char* op) {
  requireFloat(operands.x, op, "x");
  if (!(eps > 0)) fail(ErrorKind::value, op, "eps is ", eps, ", expected more than 0");
  if (!operands.scale != !operands.shift) fail(ErrorKind::value, op, "found one of scale and shift, expected both or none");
  const Prepared p(context, operands, op);
  const auto& [rows, n, normalized] = p.shape;
  Output out{empty(context, p.x.dtype, p.x.shape, op), empty(context, p.x.dtype, Dims{rows}, op), empty(context, p.x.dtype, Dims{rows}, op)};
  if (context.onCuda()) {
    layerNormCuda(context, {rows, n, p.x, address(p.weight), address(p.bias), p.modulation}, eps, out, op);
    return out;
  }
  parallelForLater(context.pool, rows, kGrain / (n + 1) + 1,
                   [n = n, eps, dtype = p.x.dtype, x = p.x.raw(), weight = address(p.weight), bias = address(p.bias), modulation = p.modulation,
                    y = out.y.raw(), mean = out.mean.raw(), rstd = out.rstd.raw()](int64_t begin, int64_t end) {
                     MD_CALL(layerNormRows)(dtype, n, eps, begin, end, x, weight, bias, modulation, y, mean, rstd);
                   });
  return out;
}

Gradients layerNormGrad(Context& context, const Operands& operands, const Tensor& mean, const Tensor& rstd, const Tensor& gradient,
                        const Tensor* earlier, bool affine, const char* op) {
  requireFloat(operands.x, op, "x");
  const Prepared p(context, operands, op);
  const int64_t rows = p.shape.rows, n = p.shape.n;
  requireParameter(&mean, p.x, Dims{rows}, op, "mean");
  requireParameter(&rstd, p.x, Dims{rows}, op, "rstd");
  requireParameter(&gradient, p.x, p.x.shape, op, "grad");
  requireParameter(earlier, p.x, p.x.shape, op, "earlier");
  const Tensor grad = contiguous(context, gradient, op), added = contiguousOrNone(context, earlier, op);
  const Tensor m = contiguous(context, mean, op), r = contiguous(context, rstd, op);
  const DType dtype = p.x.dtype;
  const bool shared = operands.scale && p.modulation.rowsEach != 1;
  Gradients out;
  out.x = empty(context, dtype, p.x.shape, op);
  if (affine) {
    out.weight = empty(context, dtype, p.shape.normalized, op);
    out.bias = empty(context, dtype, p.shape.normalized, op);
  }
  if (operands.scale) out.scale = empty(context, dtype, operands.scale->shape, op);
  if (shared) out.shift = empty(context, dtype, operands.scale->shape, op);
  if (context.onCuda()) {
    layerNormGradCuda(context, {rows, n, p.x, address(p.weight), address(p.bias), p.modulation}, m, r, grad, out, op);
    if (earlier) out.x = elementwise::binary(context, elementwise::Binary::add, added, out.x, op);
    return out;
  }
  if (rows == 0 && shared) {
    clear(context, out.scale, op);
    clear(context, out.shift, op);
  }
  const Blocks blocks = cut(rows, p.modulation.rowsEach);
  Tensor partial, partialSums;
  if (affine) partial = empty(context, dtype, Dims{blocks.count, 2, n}, op);
  ModulationSums sums;
  if (operands.scale) sums = {out.scale.raw(), shared ? out.shift.raw() : nullptr, n};
  if (shared && blocks.each > 1) {
    partialSums = empty(context, dtype, Dims{blocks.count, 2, n}, op);
    sums = {partialSums.raw(), static_cast<char*>(partialSums.raw()) + n * static_cast<int64_t>(itemSize(dtype)), 2 * n};
  }
  parallelForLater(context.pool, blocks.count, 1 + kGrain / (kBlockRows * (n + 1)),
                   [=, x = p.x.raw(), weight = address(p.weight), bias = address(p.bias), modulation = p.modulation, m = m.raw(), r = r.raw(),
                    grad = grad.raw(), earlier = address(added), dx = out.x.raw(), parameters = affine ? partial.raw() : nullptr](int64_t begin, int64_t end) {
                     MD_CALL(layerNormGradBlocks)(dtype, blocks, n, begin, end, x, weight, bias, modulation, m, r, grad, earlier, dx, parameters, sums);
                   });
  const auto combine = [&](const Tensor& from, int64_t items, int64_t blocksEach, const Tensor& a, const Tensor& b) {
    const int64_t bytes = n * static_cast<int64_t>(itemSize(dtype));
    parallelForLater(context.pool, items * n, kGrain / (blocksEach + 1) + 1, [=, from = from.raw(), a = a.raw(), b = b.raw()](int64_t begin, int64_t end) {
      for (int64_t item = begin / n; item * n < end; item++) {
        const auto at = [&](void* x, int64_t index) { return static_cast<char*>(x) + index * bytes; };
        MD_CALL(layerNormCombine)(dtype, blocksEach, n, std::max(begin - item * n, int64_t{0}), std::min(end - item * n, n), at(from, item * blocksEach * 2),
                                  at(a, item), at(b, item));
      }
    });
  };
  if (affine) combine(partial, 1, blocks.count, out.weight, out.bias);
  if (shared && blocks.each > 1) combine(partialSums, blocks.count / blocks.each, blocks.each, out.scale, out.shift);
  return out;
}

}  // namespace md::layer_norm
