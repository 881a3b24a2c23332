// Elementwise ops with broadcasting: unary functions and their derivatives, binary arithmetic and comparison, where,
// cast, fill.
#pragma once
#include "../../core/context.h"
#include "../../isa/isa.h"

namespace md::elementwise {

/// Order shared with `unaryKinds` in packages/tensor/src/ops/elementwise.ts.
enum class Unary : int32_t {
  neg, abs, exp, log, sqrt, rsqrt, sin, cos, tanh, sigmoid, silu, relu, gelu, geluTanh, erf, softplus, square,
  reciprocal, sign, floor, ceil, round, trunc, leakyRelu, clamp, powScalar, addScalar, mulScalar, isFinite, logicalNot, count
};

/// Order shared with `binaryKinds` in packages/tensor/src/ops/elementwise.ts.
enum class Binary : int32_t { add, sub, mul, div, pow, maximum, minimum, eq, ne, lt, le, gt, ge, logicalAnd, logicalOr, count };

/// y = f(x; a, b): a and b are the slope, the bounds or the scalar of the kinds that have one. f32 and f64; neg, abs,
/// sign, square, relu, clamp, addScalar and mulScalar also take integers. isFinite and logicalNot give bool.
Tensor unary(Context& context, Unary kind, const Tensor& x, double a, double b, const char* op);

/// grad · f'(x): one pass for every kind that has a derivative.
Tensor unaryGrad(Context& context, Unary kind, const Tensor& x, const Tensor& grad, double a, double b, const char* op);

/// Broadcasts; both operands have the same dtype. Comparisons and logic give bool.
Tensor binary(Context& context, Binary kind, const Tensor& a, const Tensor& b, const char* op);

/// condition (bool) ? a : b, broadcast over all three.
Tensor where(Context& context, const Tensor& condition, const Tensor& a, const Tensor& b, const char* op);

/// Converts like C: float to integer truncates; anything to bool is "not 0"; f16 and bf16 round to the nearest, halves to
/// even, by way of f32. ValueError for a non-finite float to integer.
Tensor cast(Context& context, const Tensor& x, DType dtype, const char* op);

Tensor full(Context& context, DType dtype, const Dims& shape, double value, const char* op);

/// The shape both broadcast to; ShapeError if there is none.
Dims broadcastShapes(const Dims& a, const Dims& b, const char* op);

// Kernels of cpu.cpp, over loops of at most kMaxRank axes.

/// Extents and the element strides of each operand; operand 0 is the output.
struct Loop {
  int rank = 1;
  int64_t extent[kMaxRank] = {1};
  int64_t stride[4][kMaxRank] = {};
};

MD_KERNEL(void, unaryRange, Unary kind, DType dtype, const void* x, void* y, int64_t n, double a, double b)
MD_KERNEL(void, unaryGradRange, Unary kind, DType dtype, const void* x, const void* grad, void* out, int64_t n, double a, double b)
/// Rows [begin, end) of the loop's outer axes (all but the last).
MD_KERNEL(void, binaryRows, Binary kind, DType dtype, const Loop& loop, int64_t begin, int64_t end, const void* a, const void* b, void* out)
MD_KERNEL(void, whereRows, DType dtype, const Loop& loop, int64_t begin, int64_t end, const void* condition, const void* a, const void* b, void* out)
/// False where a float that is not finite meets an integer type.
MD_KERNEL(bool, castRange, DType from, DType to, const void* x, void* y, int64_t n)
MD_KERNEL(void, fillRange, DType dtype, void* y, int64_t n, double value)

}  // namespace md::elementwise
