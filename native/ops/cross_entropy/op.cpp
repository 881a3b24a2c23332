#include "op.h"

#include <algorithm>

#include "../elementwise/op.h"
#include "../index/cuda.h"
#include "../reduce/op.h"
#include "cuda.h"

namespace md::cross_entropy {
namespace {

constexpr int64_t kGrain = 1 << 12;

// The target as contiguous i64, every index checked.
Tensor checkedTarget(Context& context, const Tensor& logits, const Tensor& target, const char* op) {
  if (logits.rank() < 1) fail(ErrorKind::shape, op, "logits have shape [], expected [..., classes]");
  if (target.dtype != DType::i32 && target.dtype != DType::i64) {
    fail(ErrorKind::dtype, op, "target has dtype ", dtypeName(target.dtype), ", expected i32 or i64");
  }
  Dims shape = logits.shape;
  shape.rank--;
  requireShape(target, shape, op, "target");
  const Tensor from = contiguous(context, target, op);
  if (context.onCuda()) {
    if (logits.dim(-1) == 0 && from.numel() > 0) fail(ErrorKind::value, op, "logits have shape ", logits.shape.str(), ", expected at least one class");
    return index::checkedIndexCuda(context, elementwise::cast(context, from, DType::i64, op), logits.dim(-1), op);
  }
  awaitElements(context, from);
  const int64_t classes = logits.dim(-1);
  const auto check = [&](const auto* index) {
    bool outside = false;  // found in a loop that vectorises
    for (int64_t i = 0; i < from.numel(); i++) outside |= index[i] < 0 || index[i] >= classes;
    for (int64_t i = 0; outside && i < from.numel(); i++) {
      if (index[i] < 0 || index[i] >= classes) fail(ErrorKind::value, op, "target ", index[i], " at item ", i, ", expected 0 to ", classes - 1);
    }
  };
  from.dtype == DType::i32 ? check(from.data<int32_t>()) : check(from.data<int64_t>());
  return elementwise::cast(context, from, DType::i64, op);
}

Dims pairs(Dims shape) {
  shape.push(2);
  return shape;
}

void requireSmoothing(double smoothing, const char* op) {
  if (!(smoothing >= 0 && smoothing <= 1)) fail(ErrorKind::value, op, "labelSmoothing is ", smoothing, ", expected 0 to 1");
}

// In one order and in f64, whatever the number of threads.
Tensor reduceLosses(Context& context, const Tensor& losses, Mode mode, const char* op) {
  if (context.onCuda()) {
    Dims axes;
    for (int axis = 0; axis < losses.rank(); axis++) axes.push(axis);
    return reduce::reduce(context, mode == Mode::mean ? reduce::Reduction::mean : reduce::Reduction::sum, losses, axes, false, op);
  }
  Tensor out = empty(context, losses.dtype, Dims{}, op);
  dispatchFloat(losses.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    shareOutLater(context.pool, 1, [n = losses.numel(), mode, from = losses.data<T>(), to = out.data<T>()](int64_t, int64_t) {
      constexpr int kLanes = 8;
      double lanes[kLanes] = {}, total = 0;
      for (int64_t i = 0; i < n; i++) lanes[i % kLanes] += static_cast<double>(from[i]);
      for (const double lane : lanes) total += lane;
      *to = static_cast<T>(mode == Mode::mean ? total / static_cast<double>(n) : total);
    });
  });
  return out;
}

}  // namespace

Output crossEntropy(Context& context, const Tensor& input, const Tensor& labels, double smoothing, Mode mode, const char* op) {
  requireFloat(input, op, "logits");
  requireSmoothing(smoothing, op);
  const Tensor target = checkedTarget(context, input, labels, op);
  const Tensor logits = contiguous(context, input, op);
  const int64_t classes = logits.dim(-1);
  Tensor losses = empty(context, logits.dtype, target.shape, op), normalizers = empty(context, logits.dtype, pairs(target.shape), op);
  if (context.onCuda()) {
    lossCuda(context, smoothing, logits, target, losses, normalizers, op);
    return {mode == Mode::none ? losses : reduceLosses(context, losses, mode, op), normalizers};
  }
  parallelForLater(context.pool, target.numel(), kGrain / (classes + 1) + 1,
                   [=, dtype = logits.dtype, x = logits.raw(), at = target.data<int64_t>(), loss = losses.raw(), sums = normalizers.raw()](int64_t begin, int64_t end) {
                     MD_CALL(lossRange)(dtype, classes, smoothing, begin, end, x, at, loss, sums);
                   });
  return {mode == Mode::none ? losses : reduceLosses(context, losses, mode, op), normalizers};
}

Tensor crossEntropyGrad(Context& context, const Tensor& input, const Tensor& labels, const Tensor& normalizers, const Tensor& gradient,
                        double smoothing, Mode mode, const char* op) {
  requireFloat(input, op, "logits");
  requireSmoothing(smoothing, op);
  const Tensor target = checkedTarget(context, input, labels, op);
  requireDType(normalizers, input.dtype, op, "normalizers");
  requireShape(normalizers, pairs(target.shape), op, "normalizers");
  requireDType(gradient, input.dtype, op, "grad");
  requireShape(gradient, mode == Mode::none ? target.shape : Dims{}, op, "grad");
  const Tensor logits = contiguous(context, input, op), sums = contiguous(context, normalizers, op), grad = contiguous(context, gradient, op);
  const int64_t classes = logits.dim(-1), items = target.numel();
  Tensor out = empty(context, logits.dtype, logits.shape, op);
  const double scale = mode == Mode::mean ? 1.0 / static_cast<double>(items) : 1.0;
  if (context.onCuda()) {
    lossGradCuda(context, smoothing, logits, target, sums, grad, mode == Mode::none ? 1 : 0, scale, out, op);
    return out;
  }
  parallelForLater(context.pool, items, kGrain / (classes + 1) + 1,
                   [=, dtype = logits.dtype, x = logits.raw(), at = target.data<int64_t>(), sums = sums.raw(), grad = grad.raw(), to = out.raw()](int64_t begin, int64_t end) {
                     MD_CALL(lossGradRange)(dtype, classes, smoothing, begin, end, x, at, sums, grad, mode == Mode::none ? 1 : 0, scale, to);
                   });
  return out;
}

}  // namespace md::cross_entropy
