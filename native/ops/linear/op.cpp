#include "op.h"

#include <algorithm>

#include "../../core/views.h"
#include "../elementwise/op.h"
#include "../reduce/op.h"
#include "cuda.h"

namespace md::linear {
namespace {

using matmul::GemmArgs;

constexpr int64_t kGrain = 1 << 14;  // elements below which a second thread costs more than it brings

void requireOperands(const Tensor& x, const Tensor& weight, const char* op) {
  requireStoredFloat(x, op, "x");
  requireDType(weight, x.dtype, op, "weight");
  requireRank(weight, 2, op, "weight");
  if (x.rank() == 0 || x.dim(-1) != weight.dim(1)) {
    fail(ErrorKind::shape, op, "x has shape ", x.shape.str(), ", expected [*,", weight.dim(1), "] for weight ", weight.shape.str());
  }
}

Dims outputShape(const Tensor& x, const Tensor& weight) {
  Dims shape = x.shape;
  shape[shape.rank - 1] = weight.dim(0);
  return shape;
}

/// x with its leading axes merged: [rows, channels].
Tensor asMatrix(Context& context, const Tensor& x, const char* op) {
  int64_t rows = 1;
  for (int axis = 0; axis + 1 < x.rank(); axis++) rows *= x.shape[axis];
  return reshapeView(context, x, {rows, x.dim(-1)}, op);
}

void setA(GemmArgs& g, const Tensor& matrix, bool transposed) {
  g.a = matrix.raw();
  g.aRow = matrix.stride[transposed];
  g.aCol = matrix.stride[!transposed];
}
void setB(GemmArgs& g, const Tensor& matrix, bool transposed) {
  g.b = matrix.raw();
  g.bRow = matrix.stride[transposed];
  g.bCol = matrix.stride[!transposed];
}

/// What a product adds behind its activation, contiguous; without storage where `x` is null.
Tensor requireAddend(Context& context, const Tensor* x, DType dtype, const Dims& shape, const char* op, const char* operand) {
  if (!x) return {};
  requireDType(*x, dtype, op, operand);
  requireShape(*x, shape, op, operand);
  return contiguous(context, *x, op);
}

/// The sum over the rows of a matrix on a CUDA device; of f16 and bf16 in f32.
Tensor sumOfRows(Context& context, const Tensor& matrix, const char* op) {
  const Tensor wide = elementwise::cast(context, matrix, computedDType(matrix.dtype), op);
  return elementwise::cast(context, reduce::reduce(context, reduce::Reduction::sum, wide, {0}, false, op), matrix.dtype, op);
}

}  // namespace

Outputs linear(Context& context, const Tensor& x, const Tensor& weight, const Tensor* bias, const Tensor* residual, Activation activation, bool save,
               const char* op) {
  requireOperands(x, weight, op);
  if (bias) {
    requireDType(*bias, x.dtype, op, "bias");
    requireShape(*bias, {weight.dim(0)}, op, "bias");
  }
  const Tensor added = requireAddend(context, residual, x.dtype, outputShape(x, weight), op, "residual");
  const Tensor rows = asMatrix(context, x, op);
  Outputs out;
  out.y = empty(context, x.dtype, outputShape(x, weight), op);
  const Saved saved = save ? savedFor(activation, residual) : Saved::nothing;
  if (saved == Saved::output) out.saved = out.y;
  if (saved == Saved::derivative) out.saved = empty(context, x.dtype, out.y.shape, op);
  GemmArgs g;
  g.dtype = x.dtype;
  g.m = rows.dim(0);
  g.n = weight.dim(0);
  g.k = weight.dim(1);
  setA(g, rows, false);
  setB(g, weight, true);
  g.c = out.y.raw();
  g.cRow = g.n;
  if (bias) {
    g.bias = bias->raw();
    g.biasCol = bias->stride[0];
  }
  g.activation = activation;
  if (saved == Saved::derivative) g.derivative = out.saved.raw();
  if (residual) g.residual = added.raw();
  matmul::gemm(context, g, op);
  return out;
}

Gradients linearGrad(Context& context, const Tensor& x, const Tensor& weight, const Tensor* saved, const Tensor& gradient, const Tensor* earlier,
                     Activation activation, Wanted wanted, const char* op) {
  requireOperands(x, weight, op);
  requireDType(gradient, x.dtype, op, "grad");
  requireShape(gradient, outputShape(x, weight), op, "grad");
  if ((saved != nullptr) != (activation != Activation::none)) fail(ErrorKind::value, op, "saved does not fit the activation");
  if (saved) {
    requireDType(*saved, x.dtype, op, "saved");
    requireShape(*saved, gradient.shape, op, "saved");
  }
  const Tensor added = requireAddend(context, earlier, x.dtype, x.shape, op, "earlier");
  const Tensor rows = asMatrix(context, x, op);
  const int64_t m = rows.dim(0), out = weight.dim(0), in = weight.dim(1);
  Tensor grad = contiguous(context, gradient, op);
  grad.shape = {m, out};
  grad.stride = contiguousStrides(grad.shape);

  Gradients results;
  if (saved || wanted.bias) {
    const Tensor from = grad;
    const Tensor savedRows = saved ? contiguous(context, *saved, op) : Tensor{};
    if (saved) grad = empty(context, x.dtype, from.shape, op);
    if (context.onCuda()) {
      if (saved) activationGradCuda(context, activation, savedRows, from, grad, op);
      if (wanted.bias) results.bias = sumOfRows(context, grad, op);
    } else {
      const int64_t threads = context.pool.threads(), parts = std::clamp<int64_t>(m * out / kGrain, 1, kPartsPerThread * threads);
      Tensor sums;
      if (wanted.bias) sums = empty(context, x.dtype, {parts, 2, out}, op);
      char* const columnSums = wanted.bias ? sums.data<char>() : nullptr;
      shareOutLater(context.pool, parts,
                    [=, dtype = x.dtype, saved = saved ? savedRows.raw() : nullptr, from = from.raw(), to = saved ? grad.raw() : nullptr](int64_t part, int64_t) {
                      void* const own = columnSums ? columnSums + part * 2 * out * static_cast<int64_t>(itemSize(dtype)) : nullptr;
                      MD_CALL(activationGradRows)(dtype, activation, cutAt(m, part, parts, threads), cutAt(m, part + 1, parts, threads), out, saved, from, to, own);
                    });
      if (wanted.bias) {
        results.bias = empty(context, x.dtype, {out}, op);
        shareOutLater(context.pool, 1,
                      [=, dtype = x.dtype, to = results.bias.raw()](int64_t, int64_t) { MD_CALL(sumParts)(dtype, columnSums, parts, out, to); });
      }
    }
  }
  GemmArgs toX, toWeight;
  toX.dtype = toWeight.dtype = x.dtype;
  toX.n = toX.cRow = toWeight.n = toWeight.cRow = in;
  if (wanted.x) {
    results.x = empty(context, x.dtype, x.shape, op);
    toX.m = m;
    toX.k = out;
    setA(toX, grad, false);
    setB(toX, weight, false);
    toX.c = results.x.raw();
    toX.residual = earlier ? added.raw() : nullptr;
  }
  if (wanted.weight) {
    results.weight = empty(context, x.dtype, weight.shape, op);
    toWeight.m = out;
    toWeight.k = m;
    setA(toWeight, grad, true);
    setB(toWeight, rows, false);
    toWeight.c = results.weight.raw();
  }
  matmul::gemmBoth(context, toX, toWeight, op);
  return results;
}

}  // namespace md::linear
