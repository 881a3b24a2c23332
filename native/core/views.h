// Other shapes of the same storage: no element is copied.
#pragma once
#include <vector>

#include "context.h"

namespace md {

/// Shares storage where the strides allow it, else copies. Same number of elements; ShapeError otherwise.
Tensor reshapeView(Context& context, const Tensor& x, const Dims& shape, const char* op);
/// `axes` is a permutation of 0 … rank-1.
Tensor permuteView(const Tensor& x, const Dims& axes, const char* op);
/// Broadcasts extents of 1 and new leading axes with stride 0.
Tensor expandView(const Tensor& x, const Dims& shape, const char* op);
/// start, extent and step an axis, already resolved: 0 <= start, step >= 1, the last element inside.
Tensor sliceView(const Tensor& x, const Dims& start, const Dims& extent, const Dims& step, const char* op);

/// Views side by side along an axis, of extents that add up to its own; the axis may be negative.
std::vector<Tensor> splitView(const Tensor& x, const Dims& sizes, int64_t axis, const char* op);

/// Zeros of `shape` with `grad` written where sliceView(start, grad.shape, step) looks: the adjoint of slicing.
Tensor sliceAdjoint(Context& context, const Tensor& grad, const Dims& shape, const Dims& start, const Dims& step, const char* op);

}  // namespace md
