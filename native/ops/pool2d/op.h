// Maximum and mean over windows of an image, and their gradients.
#pragma once
#include "../../core/context.h"
#include "../../isa/isa.h"

namespace md::pool2d {

struct Options {
  int64_t kernelY, kernelX, strideY, strideX, paddingY, paddingX;
};

struct MaxOutput {
  Tensor y;
  Tensor indices;  // i32, y * width + x of the chosen pixel in its plane
};

/// x [batch, channels, height, width]; y's extents are ⌊(extent + 2 padding - kernel) / stride⌋ + 1. Padding, at most half
/// of the kernel, never wins a maximum; the first of equals does, and NaN before all.
MaxOutput maxPool2d(Context& context, const Tensor& x, const Options& options, const char* op);
Tensor maxPool2dGrad(Context& context, const Tensor& grad, const Tensor& indices, const Dims& inputShape, const char* op);

/// The mean counts padding as zeros (PyTorch's count_include_pad).
Tensor avgPool2d(Context& context, const Tensor& x, const Options& options, const char* op);
Tensor avgPool2dGrad(Context& context, const Tensor& grad, const Dims& inputShape, const Options& options, const char* op);

// Kernels of cpu.cpp: planes (item, channel) [begin, end).
struct Plane {
  DType dtype;
  int64_t height, width, outHeight, outWidth;
  Options options;
};
MD_KERNEL(void, maxPlanes, const Plane& plane, int64_t begin, int64_t end, const void* x, void* y, int32_t* indices)
/// False where an index lies outside of its plane.
MD_KERNEL(bool, maxGradPlanes, const Plane& plane, int64_t begin, int64_t end, const void* grad, const int32_t* indices, void* dx)
MD_KERNEL(void, avgPlanes, const Plane& plane, int64_t begin, int64_t end, const void* x, void* y)
MD_KERNEL(void, avgGradPlanes, const Plane& plane, int64_t begin, int64_t end, const void* grad, void* dx)

}  // namespace md::pool2d
