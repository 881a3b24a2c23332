// Softmax and log-softmax along one axis, and their gradients.
#pragma once
#include "../../core/axis.h"
#include "../../core/context.h"
#include "../../isa/isa.h"

namespace md::softmax {

/// softmax, or its logarithm where `log`; f32 and f64. The maximum is subtracted first.
Tensor softmax(Context& context, const Tensor& x, int64_t axis, bool log, const char* op);

/// Gradient from the output y: y (g - sum(g y)), or g - exp(y) sum(g) where `log`.
Tensor softmaxGrad(Context& context, const Tensor& y, const Tensor& grad, int64_t axis, bool log, const char* op);

// Kernels of cpu.cpp. A unit is one outer index and kTile columns; with inner = 1, one row.
constexpr int64_t kTile = 64;
MD_KERNEL(void, softmaxUnits, DType dtype, const AxisSplit& split, bool log, int64_t begin, int64_t end, const void* x, void* out)
MD_KERNEL(void, softmaxGradUnits, DType dtype, const AxisSplit& split, bool log, int64_t begin, int64_t end, const void* y, const void* grad, void* out)

}  // namespace md::softmax
