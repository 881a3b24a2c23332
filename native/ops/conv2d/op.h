// Two-dimensional convolution and its gradients: patches of the image as columns (im2col), a tile of output positions
// at a time, times the packed GEMM.
#pragma once
#include "../../core/context.h"
#include "../../core/host_device.h"
#include "../../isa/isa.h"

namespace md::conv2d {

struct Options {
  int64_t strideY = 1, strideX = 1, paddingY = 0, paddingX = 0, dilationY = 1, dilationX = 1, groups = 1;
};

/// x [batch, in, height, width], weight [out, in / groups, kernelY, kernelX], bias [out] or null; zero padding:
/// y [batch, out, outHeight, outWidth] with outHeight = ⌊(height + 2 padding - dilation (kernel - 1) - 1) / stride⌋ + 1.
Tensor conv2d(Context& context, const Tensor& x, const Tensor& weight, const Tensor* bias, const Options& options, const char* op);

/// Gradient of x [batch, in, height, width] for the gradient of y.
Tensor conv2dInputGrad(Context& context, const Tensor& grad, const Tensor& weight, const Dims& inputShape, const Options& options, const char* op);

/// Gradient of weight; the sum over items and positions runs in their order.
Tensor conv2dWeightGrad(Context& context, const Tensor& grad, const Tensor& x, const Dims& weightShape, const Options& options, const char* op);

// Kernels of cpu.cpp.

/// Extents of one group of one item.
struct Conv {
  DType dtype;
  int64_t batch, in, height, width, out, outHeight, outWidth, kernelY, kernelX;
  Options options;
  int64_t tile;    // output positions at a time
  int64_t blocks;  // parts of the input channels, or of the patch, that separate units work on

  MD_HOST_DEVICE int64_t positions() const { return outHeight * outWidth; }
  MD_HOST_DEVICE int64_t patch() const { return in * kernelY * kernelX; }
  int64_t tiles() const { return (positions() + tile - 1) / tile; }
};
/// The three passes, in the order of the functions above.
enum class Product { output, inputGrad, weightGrad };

/// Elements of scratch that each concurrent caller of a pass needs.
MD_KERNEL(int64_t, scratchElements, const Conv& conv, Product product)
/// A unit is (item, group, tile).
MD_KERNEL(void, outputUnits, const Conv& conv, int64_t begin, int64_t end, const void* x, const void* weight, const void* bias, void* y, void* scratch)
/// A unit is (item, group, block of input channels).
MD_KERNEL(void, inputGradUnits, const Conv& conv, int64_t begin, int64_t end, const void* grad, const void* weight, void* dx, void* scratch)
/// A unit is (group, block of the patch).
MD_KERNEL(void, weightGradUnits, const Conv& conv, int64_t begin, int64_t end, const void* grad, const void* x, void* dWeight, void* scratch)

}  // namespace md::conv2d
