#include "op.h"

#include <algorithm>
#include <atomic>

#include "cuda.h"

namespace md::elementwise {
namespace {

constexpr int64_t kGrain = 1 << 14;  // elements below which a second thread costs more than it brings

bool takesIntegers(Unary kind) {
  switch (kind) {
    case Unary::neg:
    case Unary::abs:
    case Unary::sign:
    case Unary::square:
    case Unary::relu:
    case Unary::clamp:
    case Unary::addScalar:
    case Unary::mulScalar:
      return true;
    default:
      return false;
  }
}

// One loop for operands of the same broadcast shape: axes that every operand walks as one are merged.
Loop makeLoop(const Dims& shape, std::initializer_list<const Tensor*> operands) {
  Loop loop;
  Dims strides[4];
  int count = 0;
  strides[count++] = contiguousStrides(shape);
  for (const Tensor* operand : operands) {
    Dims& stride = strides[count++];
    stride.rank = shape.rank;
    const int lead = shape.rank - operand->rank();
    for (int i = 0; i < shape.rank; i++) {
      const bool repeated = i < lead || (operand->shape[i - lead] == 1 && shape[i] != 1);
      stride[i] = repeated ? 0 : operand->stride[i - lead];
    }
  }
  int rank = 0;
  for (int i = 0; i < shape.rank; i++) {
    if (shape[i] == 1) continue;
    bool merge = rank > 0;
    for (int k = 0; k < count && merge; k++) merge = loop.stride[k][rank - 1] == strides[k][i] * shape[i];
    if (merge) {
      loop.extent[rank - 1] *= shape[i];
    } else {
      loop.extent[rank++] = shape[i];
    }
    for (int k = 0; k < count; k++) loop.stride[k][rank - 1] = strides[k][i];
  }
  loop.rank = std::max(rank, 1);
  return loop;
}

// Runs rows(loop, from, begin, end) over the outer axes; a single row is cut into several.
template <class Rows>
void runRows(Context& context, Loop loop, int64_t numel, Rows rows) {
  if (numel == 0) return;
  if (loop.rank == 1) {
    parallelForLater(context.pool, loop.extent[0], 2 * kGrain, [=](int64_t begin, int64_t end) {
      Loop piece = loop;
      piece.extent[0] = end - begin;
      rows(piece, begin, 0, 1);
    });
    return;
  }
  const int64_t inner = loop.extent[loop.rank - 1];
  parallelForLater(context.pool, numel / inner, std::max<int64_t>(1, kGrain / inner),
                   [=](int64_t begin, int64_t end) { rows(loop, 0, begin, end); });
}

// The elements of a tensor, for regions that outlast it.
struct Elements {
  explicit Elements(const Tensor& x) : data(x.data<char>()), size(static_cast<int64_t>(itemSize(x.dtype))) {}
  void* at(int64_t from) const { return data + from * size; }
  // Element `from` along the last axis.
  const void* at(const Loop& loop, int operand, int64_t from) const { return at(from * loop.stride[operand][0]); }

  char* data;
  int64_t size;
};

// Whether a cast looks at every value: of floats, whether it fits an integer.
bool castChecks(DType from, DType to) {
  const auto holdsFloats = [](DType dtype) { return isFloat(dtype) || isHalf(dtype); };
  return holdsFloats(from) && !holdsFloats(to) && to != DType::boolean;
}

void requireUnaryDType(Unary kind, const Tensor& x, const char* op) {
  if (kind == Unary::logicalNot) return requireDType(x, DType::boolean, op, "x");
  if (takesIntegers(kind) && x.dtype != DType::boolean) return;
  requireFloat(x, op, "x");
}

}  // namespace

Dims broadcastShapes(const Dims& a, const Dims& b, const char* op) {
  Dims out;
  out.rank = std::max(a.rank, b.rank);
  for (int i = 1; i <= out.rank; i++) {
    const int64_t x = i <= a.rank ? a[a.rank - i] : 1, y = i <= b.rank ? b[b.rank - i] : 1;
    if (x != y && x != 1 && y != 1) fail(ErrorKind::shape, op, "shapes ", a.str(), " and ", b.str(), " do not broadcast");
    out[out.rank - i] = x == 1 ? y : x;
  }
  return out;
}

Tensor unary(Context& context, Unary kind, const Tensor& input, double a, double b, const char* op) {
  requireUnaryDType(kind, input, op);
  const Tensor x = contiguous(context, input, op);
  const bool logical = kind == Unary::isFinite || kind == Unary::logicalNot;
  Tensor out = empty(context, logical ? DType::boolean : x.dtype, x.shape, op);
  if (context.onCuda()) {
    unaryCuda(context, kind, x, out, a, b, op);
    return out;
  }
  parallelForLater(context.pool, x.numel(), kGrain, [=, dtype = x.dtype, x = Elements(x), out = Elements(out)](int64_t begin, int64_t end) {
    MD_CALL(unaryRange)(kind, dtype, x.at(begin), out.at(begin), end - begin, a, b);
  });
  return out;
}

Tensor unaryGrad(Context& context, Unary kind, const Tensor& input, const Tensor& gradient, double a, double b, const char* op) {
  requireFloat(input, op, "x");
  requireDType(gradient, input.dtype, op, "grad");
  requireShape(gradient, input.shape, op, "grad");
  const Tensor x = contiguous(context, input, op), grad = contiguous(context, gradient, op);
  Tensor out = empty(context, x.dtype, x.shape, op);
  if (context.onCuda()) {
    unaryGradCuda(context, kind, x, grad, out, a, b, op);
    return out;
  }
  parallelForLater(context.pool, x.numel(), kGrain,
                   [=, dtype = x.dtype, x = Elements(x), grad = Elements(grad), out = Elements(out)](int64_t begin, int64_t end) {
                     MD_CALL(unaryGradRange)(kind, dtype, x.at(begin), grad.at(begin), out.at(begin), end - begin, a, b);
                   });
  return out;
}

Tensor binary(Context& context, Binary kind, const Tensor& a, const Tensor& b, const char* op) {
  requireDType(b, a.dtype, op, "b");
  const bool logic = kind == Binary::logicalAnd || kind == Binary::logicalOr;
  if (logic) requireDType(a, DType::boolean, op, "a");
  if (a.dtype == DType::boolean && !logic && kind != Binary::eq && kind != Binary::ne) {
    fail(ErrorKind::dtype, op, "a has dtype bool, expected a number");
  }
  if (kind == Binary::pow || kind == Binary::div) requireFloat(a, op, "a");
  const Dims shape = broadcastShapes(a.shape, b.shape, op);
  const bool boolean = static_cast<int>(kind) >= static_cast<int>(Binary::eq);
  Tensor out = empty(context, boolean ? DType::boolean : a.dtype, shape, op);
  if (context.onCuda()) {
    binaryCuda(context, kind, makeLoop(shape, {&a, &b}), a, b, out, op);
    return out;
  }
  runRows(context, makeLoop(shape, {&a, &b}), out.numel(),
          [kind, dtype = a.dtype, a = Elements(a), b = Elements(b), to = Elements(out)](const Loop& loop, int64_t from, int64_t begin, int64_t end) {
    MD_CALL(binaryRows)(kind, dtype, loop, begin, end, a.at(loop, 1, from), b.at(loop, 2, from), to.at(from));
  });
  return out;
}

Tensor where(Context& context, const Tensor& condition, const Tensor& a, const Tensor& b, const char* op) {
  requireDType(condition, DType::boolean, op, "condition");
  requireDType(b, a.dtype, op, "b");
  const Dims shape = broadcastShapes(broadcastShapes(a.shape, b.shape, op), condition.shape, op);
  Tensor out = empty(context, a.dtype, shape, op);
  if (context.onCuda()) {
    whereCuda(context, makeLoop(shape, {&condition, &a, &b}), condition, a, b, out, op);
    return out;
  }
  runRows(context, makeLoop(shape, {&condition, &a, &b}), out.numel(),
          [dtype = a.dtype, condition = Elements(condition), a = Elements(a), b = Elements(b), to = Elements(out)](const Loop& loop, int64_t from, int64_t begin,
                                                                                                                   int64_t end) {
            MD_CALL(whereRows)(dtype, loop, begin, end, condition.at(loop, 1, from), a.at(loop, 2, from), b.at(loop, 3, from), to.at(from));
          });
  return out;
}

Tensor cast(Context& context, const Tensor& input, DType dtype, const char* op) {
  if (input.dtype == dtype) return input;
  const Tensor x = contiguous(context, input, op);
  Tensor out = empty(context, dtype, x.shape, op);
  if (context.onCuda()) {
    castCuda(context, x, out, op);
    return out;
  }
  const auto range = [type = x.dtype, dtype, from = Elements(x), to = Elements(out)](int64_t begin, int64_t end) {
    return MD_CALL(castRange)(type, dtype, from.at(begin), to.at(begin), end - begin);
  };
  if (!castChecks(x.dtype, dtype)) {
    parallelForLater(context.pool, x.numel(), kGrain, range);
    return out;
  }
  std::atomic<bool> exact{true};
  parallelFor(context.pool, x.numel(), kGrain, [&](int64_t begin, int64_t end) {
    if (!range(begin, end)) exact = false;
  });
  if (!exact) fail(ErrorKind::value, op, "x holds a value that is not finite or does not fit ", dtypeName(dtype));
  return out;
}

Tensor full(Context& context, DType dtype, const Dims& shape, double value, const char* op) {
  Tensor out = empty(context, dtype, shape, op);
  if (context.onCuda()) {
    fillCuda(context, out, value, op);
    return out;
  }
  parallelForLater(context.pool, out.numel(), kGrain, [dtype, value, to = Elements(out)](int64_t begin, int64_t end) {
    MD_CALL(fillRange)(dtype, to.at(begin), end - begin, value);
  });
  return out;
}

}  // namespace md::elementwise
