#include "cuda.h"

#include <cmath>

#include "../../core/cuda/reduce.h"

namespace md::group_norm {
namespace {

using namespace md::cuda;

/// A block for a unit, whose n elements lie side by side.
template <class T>
__global__ void normalizeUnits(Layout layout, T eps, const T* __restrict__ x, const T* __restrict__ weight, const T* __restrict__ bias,
                               T* __restrict__ y, T* __restrict__ means, T* __restrict__ rstds) {
  MD_SHARED(T, parts, [kThreads / kWarp]);
  const int64_t width = layout.channels / layout.groups, n = width * layout.spatial, unit = blockIdx.x, first = unit % layout.groups * width;
  const T* from = x + unit * n;
  T sum = 0, squares = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) sum += from[i];
  sum = blockReduce(sum, parts, Add());
  const T mean = n ? sum / static_cast<T>(n) : T(0);
  for (int64_t i = threadIdx.x; i < n; i += kThreads) squares += (from[i] - mean) * (from[i] - mean);
  squares = blockReduce(squares, parts, Add());
  const T rstd = T(1) / std::sqrt((n ? squares / static_cast<T>(n) : T(0)) + eps);
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    const int64_t channel = first + i / layout.spatial;
    y[unit * n + i] = (from[i] - mean) * (weight ? rstd * weight[channel] : rstd) + (bias ? bias[channel] : T(0));
  }
  if (threadIdx.x != 0) return;
  means[unit] = mean;
  rstds[unit] = rstd;
}

/// dx = rstd (h - mean(h) - x̂ mean(h x̂)) with h = grad · weight.
template <class T>
__global__ void gradUnits(Layout layout, const T* __restrict__ x, const T* __restrict__ weight, const T* __restrict__ means,
                          const T* __restrict__ rstds, const T* __restrict__ grad, T* __restrict__ dx) {
  MD_SHARED(T, parts, [kThreads / kWarp]);
  const int64_t width = layout.channels / layout.groups, n = width * layout.spatial, unit = blockIdx.x, first = unit % layout.groups * width;
  const T mean = means[unit], rstd = rstds[unit];
  const auto weighted = [&](int64_t i) { return weight ? grad[unit * n + i] * weight[first + i / layout.spatial] : grad[unit * n + i]; };
  T sum = 0, dot = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    const T h = weighted(i);
    sum += h;
    dot += h * (x[unit * n + i] - mean) * rstd;
  }
  sum = blockReduce(sum, parts, Add()) / static_cast<T>(n);
  dot = blockReduce(dot, parts, Add()) / static_cast<T>(n);
  for (int64_t i = threadIdx.x; i < n; i += kThreads) dx[unit * n + i] = rstd * (weighted(i) - sum - (x[unit * n + i] - mean) * rstd * dot);
}

/// A block for a channel.
template <class T>
__global__ void affineChannels(Layout layout, const T* __restrict__ x, const T* __restrict__ means, const T* __restrict__ rstds,
                               const T* __restrict__ grad, T* __restrict__ dWeight, T* __restrict__ dBias) {
  MD_SHARED(double, parts, [kThreads / kWarp]);
  const int64_t channel = blockIdx.x, group = channel / (layout.channels / layout.groups);
  double dot = 0, sum = 0;
  for (int64_t i = threadIdx.x; i < layout.batch * layout.spatial; i += kThreads) {
    const int64_t item = i / layout.spatial, unit = item * layout.groups + group;
    const int64_t at = (item * layout.channels + channel) * layout.spatial + i % layout.spatial;
    dot += static_cast<double>(grad[at] * (x[at] - means[unit]) * rstds[unit]);
    sum += static_cast<double>(grad[at]);
  }
  dot = blockReduce(dot, parts, Add());
  sum = blockReduce(sum, parts, Add());
  if (threadIdx.x != 0) return;
  dWeight[channel] = static_cast<T>(dot);
  dBias[channel] = static_cast<T>(sum);
}

unsigned unitsOf(const Layout& layout) { return static_cast<unsigned>(layout.batch * layout.groups); }

}  // namespace

void groupNormCuda(Context& context, const Layout& layout, double eps, const Tensor& x, const void* weight, const void* bias, const Output& out,
                   const char* op) {
  if (unitsOf(layout) == 0) return;
  dispatchFloat(x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, normalizeUnits<T>, unitsOf(layout), kThreads, layout, static_cast<T>(eps), x.data<T>(), static_cast<const T*>(weight),
           static_cast<const T*>(bias), out.y.data<T>(), out.mean.data<T>(), out.rstd.data<T>());
  });
}

void groupNormGradCuda(Context& context, const Layout& layout, const Tensor& x, const void* weight, const Tensor& mean, const Tensor& rstd,
                       const Tensor& grad, const Tensor& dx, const char* op) {
  if (x.numel() == 0) return;
  dispatchFloat(x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, gradUnits<T>, unitsOf(layout), kThreads, layout, x.data<T>(), static_cast<const T*>(weight), mean.data<T>(), rstd.data<T>(),
           grad.data<T>(), dx.data<T>());
  });
}

void groupNormAffineCuda(Context& context, const Layout& layout, const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& grad,
                         const Tensor& dWeight, const Tensor& dBias, const char* op) {
  if (layout.channels == 0) return;
  dispatchFloat(x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, affineChannels<T>, static_cast<unsigned>(layout.channels), kThreads, layout, x.data<T>(), mean.data<T>(), rstd.data<T>(),
           grad.data<T>(), dWeight.data<T>(), dBias.data<T>());
  });
}

}  // namespace md::group_norm
