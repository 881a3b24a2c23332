// Batch normalisation (Ioffe and Szegedy, 2015) of [batch, channels, ...], with statistics of the batch or given ones.
#pragma once
#include "../../core/context.h"
#include "../../core/host_device.h"
#include "../../isa/isa.h"

namespace md::batch_norm {

struct Output {
  Tensor y;
  Tensor mean;      // [channels]
  Tensor variance;  // [channels], biased: over the number of elements
};

/// (x - mean) / sqrt(variance + eps) · weight + bias. `mean` and `variance` are both null (statistics of the batch: at
/// least 2 elements a channel, ShapeError otherwise) or both given. weight and bias are [channels] or null. eps > 0.
Output batchNorm(Context& context, const Tensor& x, const Tensor* weight, const Tensor* bias, const Tensor* mean, const Tensor* variance,
                 double eps, const char* op);

struct Gradients {
  Tensor x;
  Tensor weight, bias;  // [channels]
};

/// `fromBatch`: mean and variance came from x itself, and the gradient flows through them.
Gradients batchNormGrad(Context& context, const Tensor& x, const Tensor* weight, const Tensor& mean, const Tensor& variance,
                        const Tensor& grad, double eps, bool fromBatch, const char* op);

// Kernels of cpu.cpp. With spatial = 1 a chunk is kChunkRows items, else one item.
struct Layout {
  int64_t batch, channels, spatial;
  MD_HOST_DEVICE int64_t chunkRows() const { return spatial == 1 ? 128 : 1; }
  MD_HOST_DEVICE int64_t chunks() const { return (batch + chunkRows() - 1) / chunkRows(); }
};
/// `partial` [chunks, 2, channels]: mean and sum of squared distances from it.
MD_KERNEL(void, statisticsChunks, DType dtype, const Layout& layout, int64_t begin, int64_t end, const void* x, void* partial)
/// Combines chunks pairwise in their order (Chan et al., 1979).
MD_KERNEL(void, combineStatistics, DType dtype, const Layout& layout, const void* partial, void* mean, void* variance)
/// scale = weight / sqrt(variance + eps), shift = bias; rstd without the weight.
MD_KERNEL(void, affine, DType dtype, int64_t channels, double eps, const void* variance, const void* weight, const void* bias, void* rstd, void* scale, void* shift)
/// y = (x - mean) · scale + shift
MD_KERNEL(void, normalizeChunks, DType dtype, const Layout& layout, int64_t begin, int64_t end, const void* x, const void* mean,
          const void* scale, const void* shift, void* y)
/// `partial` [chunks, 2, channels]: sums of grad · x̂ and of grad.
MD_KERNEL(void, gradSumsChunks, DType dtype, const Layout& layout, int64_t begin, int64_t end, const void* x, const void* mean,
          const void* rstd, const void* grad, void* partial)
/// dx = scale · (grad - sumG / count - x̂ · sumX / count), or scale · grad where `sums` [2, channels] is null.
MD_KERNEL(void, gradChunks, DType dtype, const Layout& layout, int64_t begin, int64_t end, const void* x, const void* mean, const void* rstd,
          const void* scale, const void* grad, const void* sums, void* dx)

}  // namespace md::batch_norm
