#include "cuda.h"

#include <cmath>

#include "../../core/cuda/reduce.h"

namespace md::batch_norm {
namespace {

using namespace md::cuda;

/// What a thread adds up of one channel in one chunk: elements base + i · stride for every `step`-th i from `first` on. With
/// Columns (spatial = 1) the warps of a block share the rows of 32 channels, else a block has one channel of an item.
template <bool Columns>
struct Share {
  int64_t channel, base, stride, first, step, count;
  bool writes;  // one thread of those that share a channel

  __device__ explicit Share(const Layout& layout) {
    const int64_t chunk = blockIdx.x;
    if constexpr (Columns) {
      const int64_t row = chunk * layout.chunkRows(), rows = layout.batch - row;
      channel = static_cast<int64_t>(blockIdx.y) * kWarp + threadIdx.x % kWarp;
      base = row * layout.channels + channel;
      stride = layout.channels;
      first = threadIdx.x / kWarp;
      step = kThreads / kWarp;
      count = rows < layout.chunkRows() ? rows : layout.chunkRows();
      if (channel >= layout.channels) count = 0;
      writes = first == 0 && channel < layout.channels;
    } else {
      channel = blockIdx.y;
      base = (chunk * layout.channels + channel) * layout.spatial;
      stride = 1;
      first = threadIdx.x;
      step = kThreads;
      count = layout.spatial;
      writes = first == 0;
    }
  }

  template <class F>
  __device__ double sum(double (&parts)[kThreads], F f) const {
    double own = 0;
    for (int64_t i = first; i < count; i += step) own += f(base + i * stride);
    if constexpr (!Columns) return blockReduce(own, parts, Add());
    __syncthreads();  // parts may still be read from the sum before
    parts[threadIdx.x] = own;
    __syncthreads();
    double total = 0;
    for (int i = static_cast<int>(threadIdx.x) % kWarp; i < kThreads; i += kWarp) total += parts[i];
    return total;
  }
};

template <class T>
__device__ T rstdOf(const T* variance, int64_t channel, T eps) {
  return T(1) / std::sqrt(variance[channel] + eps);
}

/// `partial` [chunks, 2, channels]: mean and sum of squared distances from it.
template <class T, bool Columns>
__global__ void statisticsKernel(Layout layout, const T* __restrict__ x, double* __restrict__ partial) {
  MD_SHARED(double, parts, [kThreads]);
  const Share<Columns> share(layout);
  const double sum = share.sum(parts, [&](int64_t i) { return static_cast<double>(x[i]); });
  const double mean = share.count ? sum / static_cast<double>(share.count) : 0;
  const double squares = share.sum(parts, [&](int64_t i) { return (static_cast<double>(x[i]) - mean) * (static_cast<double>(x[i]) - mean); });
  if (!share.writes) return;
  double* to = partial + 2 * blockIdx.x * layout.channels + share.channel;
  to[0] = mean;
  to[layout.channels] = squares;
}

/// Combines chunks pairwise in their order (Chan et al., 1979).
template <class T>
__global__ void combineStatisticsKernel(Layout layout, const double* __restrict__ partial, T* __restrict__ means, T* __restrict__ variances) {
  gridStride(layout.channels, [&](int64_t c) {
    double count = 0, mean = 0, squares = 0;
    for (int64_t chunk = 0; chunk < layout.chunks(); chunk++) {
      const int64_t left = layout.batch - chunk * layout.chunkRows(), rows = left < layout.chunkRows() ? left : layout.chunkRows();
      const double* in = partial + 2 * chunk * layout.channels + c;
      const double n = static_cast<double>(rows * layout.spatial), delta = in[0] - mean, total = count + n;
      mean += delta * (n / total);
      squares += in[layout.channels] + delta * delta * (count * n / total);
      count = total;
    }
    means[c] = static_cast<T>(mean);
    variances[c] = static_cast<T>(squares / count);
  });
}

template <class T>
__global__ void normalizeKernel(Layout layout, T eps, const T* __restrict__ x, const T* __restrict__ mean, const T* __restrict__ variance,
                                const T* __restrict__ weight, const T* __restrict__ bias, T* __restrict__ y) {
  gridStride(layout.batch * layout.channels * layout.spatial, [&](int64_t i) {
    const int64_t c = i / layout.spatial % layout.channels;
    const T rstd = rstdOf(variance, c, eps);
    y[i] = (x[i] - mean[c]) * (weight ? rstd * weight[c] : rstd) + (bias ? bias[c] : T(0));
  });
}

/// `partial` [chunks, 2, channels]: sums of grad · x̂ and of grad.
template <class T, bool Columns>
__global__ void gradSumsKernel(Layout layout, T eps, const T* __restrict__ x, const T* __restrict__ mean, const T* __restrict__ variance,
                               const T* __restrict__ grad, double* __restrict__ partial) {
  MD_SHARED(double, parts, [kThreads]);
  const Share<Columns> share(layout);
  const bool any = share.channel < layout.channels;
  const T center = any ? mean[share.channel] : T(0), rstd = any ? rstdOf(variance, share.channel, eps) : T(0);
  const double dot = share.sum(parts, [&](int64_t i) { return static_cast<double>(grad[i] * (x[i] - center) * rstd); });
  const double sum = share.sum(parts, [&](int64_t i) { return static_cast<double>(grad[i]); });
  if (!share.writes) return;
  double* to = partial + 2 * blockIdx.x * layout.channels + share.channel;
  to[0] = dot;
  to[layout.channels] = sum;
}

template <class T>
__global__ void combineSumsKernel(int64_t chunks, int64_t n, const double* __restrict__ partial, T* __restrict__ sums) {
  gridStride(n, [&](int64_t i) {
    double total = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) total += partial[chunk * n + i];
    sums[i] = static_cast<T>(total);
  });
}

/// dx = scale · (grad - sumG / count - x̂ · sumX / count), or scale · grad where `sums` is null.
template <class T>
__global__ void gradKernel(Layout layout, T eps, const T* __restrict__ x, const T* __restrict__ mean, const T* __restrict__ variance,
                           const T* __restrict__ weight, const T* __restrict__ grad, const T* __restrict__ sums, T* __restrict__ dx) {
  const T inverse = T(1) / static_cast<T>(layout.batch * layout.spatial);
  gridStride(layout.batch * layout.channels * layout.spatial, [&](int64_t i) {
    const int64_t c = i / layout.spatial % layout.channels;
    const T rstd = rstdOf(variance, c, eps), scale = weight ? rstd * weight[c] : rstd;
    T g = grad[i];
    if (sums) g -= inverse * (sums[layout.channels + c] + (x[i] - mean[c]) * rstd * sums[c]);
    dx[i] = scale * g;
  });
}

dim3 chunkGrid(const Layout& layout) {
  const int64_t columns = layout.spatial == 1 ? (layout.channels + kWarp - 1) / kWarp : layout.channels;
  return {static_cast<unsigned>(layout.chunks()), static_cast<unsigned>(columns)};
}

}  // namespace

void statisticsCuda(Context& context, const Layout& layout, const Tensor& x, const Tensor& mean, const Tensor& variance, const char* op) {
  if (layout.channels == 0) return;
  const Tensor partial = empty(context, DType::f64, {layout.chunks(), 2, layout.channels}, op);
  dispatchFloat(x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto kernel = layout.spatial == 1 ? statisticsKernel<T, true> : statisticsKernel<T, false>;
    launch(context, op, kernel, chunkGrid(layout), kThreads, layout, x.data<T>(), partial.data<double>());
    launch(context, op, combineStatisticsKernel<T>, blocksFor(layout.channels), kThreads, layout, partial.data<double>(), mean.data<T>(),
           variance.data<T>());
  });
}

void normalizeCuda(Context& context, const Layout& layout, double eps, const Tensor& x, const Tensor& mean, const Tensor& variance, const void* weight,
                   const void* bias, const Tensor& y, const char* op) {
  if (x.numel() == 0) return;
  dispatchFloat(x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, normalizeKernel<T>, blocksFor(x.numel()), kThreads, layout, static_cast<T>(eps), x.data<T>(), mean.data<T>(),
           variance.data<T>(), static_cast<const T*>(weight), static_cast<const T*>(bias), y.data<T>());
  });
}

void gradSumsCuda(Context& context, const Layout& layout, double eps, const Tensor& x, const Tensor& mean, const Tensor& variance, const Tensor& grad,
                  const Tensor& sums, const char* op) {
  if (layout.channels == 0) return;
  const Tensor partial = empty(context, DType::f64, {layout.chunks(), 2, layout.channels}, op);
  dispatchFloat(x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto kernel = layout.spatial == 1 ? gradSumsKernel<T, true> : gradSumsKernel<T, false>;
    if (layout.chunks() > 0) {
      launch(context, op, kernel, chunkGrid(layout), kThreads, layout, static_cast<T>(eps), x.data<T>(), mean.data<T>(), variance.data<T>(),
             grad.data<T>(), partial.data<double>());
    }
    launch(context, op, combineSumsKernel<T>, blocksFor(2 * layout.channels), kThreads, layout.chunks(), 2 * layout.channels, partial.data<double>(),
           sums.data<T>());
  });
}

void gradCuda(Context& context, const Layout& layout, double eps, const Tensor& x, const Tensor& mean, const Tensor& variance, const void* weight,
              const Tensor& grad, const void* sums, const Tensor& dx, const char* op) {
  if (x.numel() == 0) return;
  dispatchFloat(x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, gradKernel<T>, blocksFor(x.numel()), kThreads, layout, static_cast<T>(eps), x.data<T>(), mean.data<T>(), variance.data<T>(),
           static_cast<const T*>(weight), grad.data<T>(), static_cast<const T*>(sums), dx.data<T>());
  });
}

}  // namespace md::batch_norm
