#include "cuda.h"

#include "../../core/cuda/reduce.h"

namespace md::layer_norm {
namespace {

using namespace md::cuda;

constexpr int kRowWarps = kThreads / kWarp;
constexpr int kColumns = 32, kColumnRows = 8;

/// A warp for a row.
template <class T>
__global__ void normalizeRows(int64_t rows, int64_t n, T eps, const T* __restrict__ x, const T* __restrict__ weight, const T* __restrict__ bias,
                              T* __restrict__ y, T* __restrict__ means, T* __restrict__ rstds) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp;
  const int64_t lane = threadIdx.x % kWarp;
  if (row >= rows) return;
  const T* from = x + row * n;
  T* to = y + row * n;
  T sum = 0;
  for (int64_t i = lane; i < n; i += kWarp) sum += from[i];
  const T mean = warpReduce(sum, Add()) / static_cast<T>(n);
  T squares = 0;
  for (int64_t i = lane; i < n; i += kWarp) squares += (from[i] - mean) * (from[i] - mean);
  const T rstd = T(1) / std::sqrt(warpReduce(squares, Add()) / static_cast<T>(n) + eps);
  for (int64_t i = lane; i < n; i += kWarp) {
    const T normal = (from[i] - mean) * rstd;
    to[i] = (weight ? normal * weight[i] : normal) + (bias ? bias[i] : T(0));
  }
  if (lane != 0) return;
  means[row] = mean;
  rstds[row] = rstd;
}

/// dx = rstd (h - mean(h) - x̂ mean(h x̂)) with h = grad · weight.
template <class T>
__global__ void gradRows(int64_t rows, int64_t n, const T* __restrict__ x, const T* __restrict__ weight, const T* __restrict__ means,
                         const T* __restrict__ rstds, const T* __restrict__ grad, T* __restrict__ dx) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp;
  const int64_t lane = threadIdx.x % kWarp;
  if (row >= rows) return;
  const T mean = means[row], rstd = rstds[row];
  T sum = 0, dot = 0;
  for (int64_t i = lane; i < n; i += kWarp) {
    const T h = weight ? grad[row * n + i] * weight[i] : grad[row * n + i];
    sum += h;
    dot += h * (x[row * n + i] - mean) * rstd;
  }
  sum = warpReduce(sum, Add()) / static_cast<T>(n);
  dot = warpReduce(dot, Add()) / static_cast<T>(n);
  for (int64_t i = lane; i < n; i += kWarp) {
    const T h = weight ? grad[row * n + i] * weight[i] : grad[row * n + i];
    dx[row * n + i] = rstd * (h - sum - (x[row * n + i] - mean) * rstd * dot);
  }
}

/// partial [blocks, 2, n]: kBlockRows rows by kColumns columns of a block.
template <class T>
__global__ void affineBlocks(int64_t rows, int64_t n, const T* __restrict__ x, const T* __restrict__ means, const T* __restrict__ rstds,
                             const T* __restrict__ grad, double* __restrict__ partial) {
  MD_SHARED(double, parts, [2][kColumnRows][kColumns]);
  const int64_t column = static_cast<int64_t>(blockIdx.y) * kColumns + threadIdx.x;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kBlockRows;
  const int64_t end = first + kBlockRows < rows ? first + kBlockRows : rows;
  double dot = 0, sum = 0;
  if (column < n) {
    for (int64_t row = first + threadIdx.y; row < end; row += kColumnRows) {
      const T g = grad[row * n + column];
      dot += static_cast<double>(g * (x[row * n + column] - means[row]) * rstds[row]);
      sum += static_cast<double>(g);
    }
  }
  parts[0][threadIdx.y][threadIdx.x] = dot;
  parts[1][threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y >= 2 || column >= n) return;
  double total = 0;
  for (int i = 0; i < kColumnRows; i++) total += parts[threadIdx.y][i][threadIdx.x];
  partial[(static_cast<int64_t>(blockIdx.x) * 2 + threadIdx.y) * n + column] = total;
}

template <class T>
__global__ void affineCombine(int64_t blocks, int64_t n, const double* __restrict__ partial, T* __restrict__ dWeight, T* __restrict__ dBias) {
  gridStride(2 * n, [&](int64_t i) {
    double total = 0;
    for (int64_t block = 0; block < blocks; block++) total += partial[block * 2 * n + i];
    if (i < n) {
      dWeight[i] = static_cast<T>(total);
    } else {
      dBias[i - n] = static_cast<T>(total);
    }
  });
}

unsigned rowBlocks(int64_t rows) { return static_cast<unsigned>((rows + kRowWarps - 1) / kRowWarps); }

}  // namespace

void layerNormCuda(Context& context, int64_t rows, int64_t n, double eps, const Tensor& x, const void* weight, const void* bias, const Output& out,
                   const char* op) {
  if (rows == 0) return;
  dispatchFloat(x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, normalizeRows<T>, rowBlocks(rows), kThreads, rows, n, static_cast<T>(eps), x.data<T>(), static_cast<const T*>(weight),
           static_cast<const T*>(bias), out.y.data<T>(), out.mean.data<T>(), out.rstd.data<T>());
  });
}

void layerNormGradCuda(Context& context, int64_t rows, int64_t n, const Tensor& x, const void* weight, const Tensor& mean, const Tensor& rstd,
                       const Tensor& grad, const Tensor& dx, const char* op) {
  if (rows == 0) return;
  dispatchFloat(x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, gradRows<T>, rowBlocks(rows), kThreads, rows, n, x.data<T>(), static_cast<const T*>(weight), mean.data<T>(), rstd.data<T>(),
           grad.data<T>(), dx.data<T>());
  });
}

void layerNormAffineCuda(Context& context, int64_t rows, int64_t n, const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& grad,
                         const Tensor& dWeight, const Tensor& dBias, const char* op) {
  if (n == 0) return;
  const int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  const Tensor partial = empty(context, DType::f64, {blocks, 2, n}, op);
  dispatchFloat(x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (blocks > 0) {
      const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>((n + kColumns - 1) / kColumns));
      launch(context, op, affineBlocks<T>, grid, dim3(kColumns, kColumnRows), rows, n, x.data<T>(), mean.data<T>(), rstd.data<T>(), grad.data<T>(),
             partial.data<double>());
    }
    launch(context, op, affineCombine<T>, blocksFor(2 * n), kThreads, blocks, n, partial.data<double>(), dWeight.data<T>(), dBias.data<T>());
  });
}

}  // namespace md::layer_norm
