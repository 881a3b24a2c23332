#include "cuda.h"

#include "../../core/cuda/reduce.h"

namespace md::layer_norm {
namespace {

using namespace md::cuda;

constexpr int kRowWarps = kThreads / kWarp;
constexpr int kColumns = 32, kColumnRows = 8;

/// What every row is scaled and shifted by; null for none.
template <class T>
struct Factors {
  const T* weight;
  const T* bias;
  const T* scale;
  const T* shift;
  int64_t scaleStride, shiftStride, rowsEach;

  explicit Factors(const CudaRows& o)
      : weight(static_cast<const T*>(o.weight)), bias(static_cast<const T*>(o.bias)), scale(static_cast<const T*>(o.modulation.scale)),
        shift(static_cast<const T*>(o.modulation.shift)), scaleStride(o.modulation.scaleStride), shiftStride(o.modulation.shiftStride),
        rowsEach(o.modulation.rowsEach) {}
  __device__ int64_t item(int64_t row) const { return rowsEach == 1 ? row : row / rowsEach; }
  /// Of a row; null for none.
  __device__ const T* scaleOf(int64_t row) const { return scale ? scale + item(row) * scaleStride : nullptr; }
  __device__ const T* shiftOf(int64_t row) const { return shift ? shift + item(row) * shiftStride : nullptr; }
  __device__ T weightAt(int64_t i) const { return weight ? weight[i] : T(1); }
  __device__ T biasAt(int64_t i) const { return bias ? bias[i] : T(0); }
};

/// By 1 + scale.
template <class T>
__device__ T scaled(T x, const T* scale, int64_t i) {
  return scale ? x * (T(1) + scale[i]) : x;
}

/// A warp for a row.
template <class T>
__global__ void normalizeRows(int64_t rows, int64_t n, T eps, const T* __restrict__ x, Factors<T> by, T* __restrict__ y, T* __restrict__ means,
                              T* __restrict__ rstds) {
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
  const T* const scale = by.scaleOf(row);
  const T* const shift = by.shiftOf(row);
  for (int64_t i = lane; i < n; i += kWarp) {
    const T normal = (from[i] - mean) * rstd;
    to[i] = scaled(normal * by.weightAt(i) + by.biasAt(i), scale, i) + (shift ? shift[i] : T(0));
  }
  if (lane != 0) return;
  means[row] = mean;
  rstds[row] = rstd;
}

/// dx = rstd (h - mean(h) - x̂ mean(h x̂)) with h = grad · (1 + scale) · weight. dScale, where not null, is every row's own.
template <class T>
__global__ void gradRows(int64_t rows, int64_t n, const T* __restrict__ x, Factors<T> by, const T* __restrict__ means, const T* __restrict__ rstds,
                         const T* __restrict__ grad, T* __restrict__ dx, T* __restrict__ dScale) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp;
  const int64_t lane = threadIdx.x % kWarp;
  if (row >= rows) return;
  const T mean = means[row], rstd = rstds[row];
  const T* const scale = by.scaleOf(row);
  T sum = 0, dot = 0;
  for (int64_t i = lane; i < n; i += kWarp) {
    const T g = grad[row * n + i], normal = (x[row * n + i] - mean) * rstd, h = scaled(g, scale, i) * by.weightAt(i);
    sum += h;
    dot += h * normal;
    if (dScale) dScale[row * n + i] = g * (normal * by.weightAt(i) + by.biasAt(i));
  }
  sum = warpReduce(sum, Add()) / static_cast<T>(n);
  dot = warpReduce(dot, Add()) / static_cast<T>(n);
  for (int64_t i = lane; i < n; i += kWarp) {
    const T h = scaled(grad[row * n + i], scale, i) * by.weightAt(i);
    dx[row * n + i] = rstd * (h - sum - (x[row * n + i] - mean) * rstd * dot);
  }
}

/// Two sums over rows [first, end) of a column, by the kColumnRows threads of a block that have it: add(row, a, b) adds a row to
/// both. Threads 0 and 1 of them get the first and the second.
template <class F>
__device__ double sumColumn(int64_t first, int64_t end, bool inside, double (&parts)[2][kColumnRows][kColumns], F add) {
  double a = 0, b = 0;
  if (inside) {
    for (int64_t row = first + threadIdx.y; row < end; row += kColumnRows) add(row, a, b);
  }
  parts[0][threadIdx.y][threadIdx.x] = a;
  parts[1][threadIdx.y][threadIdx.x] = b;
  __syncthreads();
  double total = 0;
  for (int i = 0; i < kColumnRows; i++) total += parts[threadIdx.y % 2][i][threadIdx.x];
  return total;
}

/// partial [blocks, 2, n]: kBlockRows rows by kColumns columns of a block.
template <class T>
__global__ void affineBlocks(int64_t rows, int64_t n, const T* __restrict__ x, Factors<T> by, const T* __restrict__ means, const T* __restrict__ rstds,
                             const T* __restrict__ grad, double* __restrict__ partial) {
  MD_SHARED(double, parts, [2][kColumnRows][kColumns]);
  const int64_t column = static_cast<int64_t>(blockIdx.y) * kColumns + threadIdx.x;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kBlockRows;
  const int64_t end = first + kBlockRows < rows ? first + kBlockRows : rows;
  const double total = sumColumn(first, end, column < n, parts, [&](int64_t row, double& dot, double& sum) {
    const T h = scaled(grad[row * n + column], by.scaleOf(row), column);
    dot += static_cast<double>(h * (x[row * n + column] - means[row]) * rstds[row]);
    sum += static_cast<double>(h);
  });
  if (threadIdx.y < 2 && column < n) partial[(static_cast<int64_t>(blockIdx.x) * 2 + threadIdx.y) * n + column] = total;
}

/// The gradients of a scale and shift of several rows: a block has kColumns columns of one.
template <class T>
__global__ void modulationSums(int64_t n, const T* __restrict__ x, Factors<T> by, const T* __restrict__ means, const T* __restrict__ rstds,
                               const T* __restrict__ grad, T* __restrict__ dScale, T* __restrict__ dShift) {
  MD_SHARED(double, parts, [2][kColumnRows][kColumns]);
  const int64_t column = static_cast<int64_t>(blockIdx.y) * kColumns + threadIdx.x, item = blockIdx.x;
  const double total = sumColumn(item * by.rowsEach, (item + 1) * by.rowsEach, column < n, parts, [&](int64_t row, double& ofScale, double& ofShift) {
    const T g = grad[row * n + column], normal = (x[row * n + column] - means[row]) * rstds[row];
    ofScale += static_cast<double>(g * (normal * by.weightAt(column) + by.biasAt(column)));
    ofShift += static_cast<double>(g);
  });
  if (threadIdx.y < 2 && column < n) (threadIdx.y == 0 ? dScale : dShift)[item * n + column] = static_cast<T>(total);
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

/// A thread block for `items` by every kColumns of n columns.
dim3 columnBlocks(int64_t items, int64_t n) { return {static_cast<unsigned>(items), static_cast<unsigned>((n + kColumns - 1) / kColumns)}; }

}  // namespace

void layerNormCuda(Context& context, const CudaRows& o, double eps, const Output& out, const char* op) {
  if (o.rows == 0) return;
  dispatchFloat(o.x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, normalizeRows<T>, rowBlocks(o.rows), kThreads, o.rows, o.n, static_cast<T>(eps), o.x.data<T>(), Factors<T>(o), out.y.data<T>(),
           out.mean.data<T>(), out.rstd.data<T>());
  });
}

void layerNormGradCuda(Context& context, const CudaRows& o, const Tensor& mean, const Tensor& rstd, const Tensor& grad, const Gradients& out,
                       const char* op) {
  const int64_t rows = o.rows, n = o.n;
  const bool together = out.shift.storage != nullptr;
  dispatchFloat(o.x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Factors<T> by(o);
    if (rows > 0) {
      T* const dScale = out.scale.storage && !together ? out.scale.data<T>() : nullptr;
      launch(context, op, gradRows<T>, rowBlocks(rows), kThreads, rows, n, o.x.data<T>(), by, mean.data<T>(), rstd.data<T>(), grad.data<T>(),
             out.x.data<T>(), dScale);
    }
    if (together && out.scale.numel() > 0) {
      launch(context, op, modulationSums<T>, columnBlocks(out.scale.numel() / n, n), dim3(kColumns, kColumnRows), n, o.x.data<T>(), by, mean.data<T>(),
             rstd.data<T>(), grad.data<T>(), out.scale.data<T>(), out.shift.data<T>());
    }
    if (!out.weight.storage || n == 0) return;
    const int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
    const Tensor partial = empty(context, DType::f64, {blocks, 2, n}, op);
    if (blocks > 0) {
      launch(context, op, affineBlocks<T>, columnBlocks(blocks, n), dim3(kColumns, kColumnRows), rows, n, o.x.data<T>(), by, mean.data<T>(),
             rstd.data<T>(), grad.data<T>(), partial.data<double>());
    }
    launch(context, op, affineCombine<T>, blocksFor(2 * n), kThreads, blocks, n, partial.data<double>(), out.weight.data<T>(), out.bias.data<T>());
  });
}

}  // namespace md::layer_norm
