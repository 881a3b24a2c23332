#include "cuda.h"

#include <limits>
#include <type_traits>

#include "../../core/cuda/reduce.h"

namespace md::reduce {
namespace {

using namespace md::cuda;

constexpr int kRowWarps = kThreads / kWarp;  // rows of a block, where a row is one warp's
constexpr int kColumns = 32, kColumnRows = 8;
constexpr int64_t kWantedUnits = 2048;  // warps or blocks that fill a device

// Accumulators: f64 for float sums, i64 for integer sums, the dtype itself for extremes.
template <class T>
struct Sum {
  using A = std::conditional_t<std::is_floating_point_v<T>, double, int64_t>;
  using Combine = Add;
  static A start() { return 0; }
};
template <class T>
struct Max {
  using A = T;
  using Combine = Larger;
  static A start() { return std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::lowest(); }
};
template <class T>
struct Min {
  using A = T;
  using Combine = Smaller;
  static A start() { return std::numeric_limits<T>::has_infinity ? std::numeric_limits<T>::infinity() : std::numeric_limits<T>::max(); }
};

/// The axis in `chunks` chunks of `chunkRows`: the output of one pass is [outer, chunks, inner].
struct Cut {
  int64_t outer, extent, inner, chunkRows, chunks;
};

template <class A, class R>
__device__ R finish(A total, double divisor) {
  if constexpr (std::is_same_v<A, double>) return static_cast<R>(divisor == 1 ? total : total / divisor);
  else return static_cast<R>(total);
}

/// inner = 1: one warp for a chunk of a row.
template <class T, class A, class R, class Combine>
__global__ void reduceRows(Cut cut, const T* __restrict__ x, R* __restrict__ out, A start, double divisor) {
  const int64_t unit = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp;
  if (unit >= cut.outer * cut.chunks) return;
  const int64_t begin = unit % cut.chunks * cut.chunkRows;
  const int64_t end = begin + cut.chunkRows < cut.extent ? begin + cut.chunkRows : cut.extent;
  const T* row = x + unit / cut.chunks * cut.extent;
  A total = start;
  for (int64_t i = begin + threadIdx.x % kWarp; i < end; i += kWarp) total = Combine()(total, static_cast<A>(row[i]));
  total = warpReduce(total, Combine());
  if (threadIdx.x % kWarp == 0) out[unit] = finish<A, R>(total, divisor);
}

/// inner > 1: a block for kColumns columns of a chunk.
template <class T, class A, class R, class Combine>
__global__ void reduceColumns(Cut cut, const T* __restrict__ x, R* __restrict__ out, A start, double divisor) {
  MD_SHARED(A, parts, [kColumnRows][kColumns]);
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kColumns + threadIdx.x;
  for (int64_t unit = blockIdx.y; unit < cut.outer * cut.chunks; unit += gridDim.y) {
    const int64_t begin = unit % cut.chunks * cut.chunkRows;
    const int64_t end = begin + cut.chunkRows < cut.extent ? begin + cut.chunkRows : cut.extent;
    A total = start;
    if (column < cut.inner) {
      const T* from = x + unit / cut.chunks * cut.extent * cut.inner + column;
      for (int64_t i = begin + threadIdx.y; i < end; i += kColumnRows) total = Combine()(total, static_cast<A>(from[i * cut.inner]));
    }
    parts[threadIdx.y][threadIdx.x] = total;
    __syncthreads();
    if (threadIdx.y == 0 && column < cut.inner) {
      for (int row = 1; row < kColumnRows; row++) total = Combine()(total, parts[row][threadIdx.x]);
      out[unit * cut.inner + column] = finish<A, R>(total, divisor);
    }
    __syncthreads();
  }
}

template <class T, class A, class R, class Combine>
void reducePass(Context& context, const Cut& cut, const void* x, void* out, A start, double divisor, const char* op) {
  const int64_t units = cut.outer * cut.chunks;
  const auto* from = static_cast<const T*>(x);
  auto* to = static_cast<R*>(out);
  if (cut.inner == 1) {
    const auto blocks = static_cast<unsigned>((units + kRowWarps - 1) / kRowWarps);
    launch(context, op, reduceRows<T, A, R, Combine>, blocks, kThreads, cut, from, to, start, divisor);
  } else {
    const dim3 blocks(static_cast<unsigned>((cut.inner + kColumns - 1) / kColumns), static_cast<unsigned>(units < 65535 ? units : 65535));
    launch(context, op, reduceColumns<T, A, R, Combine>, blocks, dim3(kColumns, kColumnRows), cut, from, to, start, divisor);
  }
}

/// Chunks depend on the shape alone: the same bits on every device.
Cut cutOf(const AxisSplit& split) {
  Cut cut{split.outer, split.extent, split.inner, split.extent, 1};
  const int64_t tiles = split.inner == 1 ? 1 : (split.inner + kColumns - 1) / kColumns;
  const int64_t wanted = kWantedUnits / (split.outer * tiles), shortest = split.inner == 1 ? 1024 : 64;
  if (wanted < 2 || split.extent < 2 * shortest) return cut;
  cut.chunkRows = (split.extent + wanted - 1) / wanted;
  if (cut.chunkRows < shortest) cut.chunkRows = shortest;
  cut.chunks = (split.extent + cut.chunkRows - 1) / cut.chunkRows;
  return cut;
}

template <class T, class R, class Op>
void reduceAs(Context& context, const AxisSplit& split, double divisor, const void* x, void* out, const char* op) {
  using A = typename Op::A;
  using Combine = typename Op::Combine;
  const Cut cut = cutOf(split);
  if (cut.chunks == 1) return reducePass<T, A, R, Combine>(context, cut, x, out, Op::start(), divisor, op);
  const DType wide = std::is_same_v<A, double> ? DType::f64 : DType::i64;
  Tensor partial = empty(context, sizeof(A) == 8 ? wide : sizeof(A) == 4 ? DType::f32 : DType::u8, {split.outer, cut.chunks, split.inner}, op);
  reducePass<T, A, A, Combine>(context, cut, x, partial.raw(), Op::start(), 1, op);
  reducePass<A, A, R, Combine>(context, {split.outer, cut.chunks, split.inner, cut.chunks, 1}, partial.raw(), out, Op::start(), divisor, op);
}

/// Whether (value, index) comes before (other, otherIndex): NaN first, then the extreme, then the lower index.
template <bool largest, class T>
__device__ bool wins(T value, int64_t index, T other, int64_t otherIndex) {
  const bool nan = value != value, otherNan = other != other;
  if (nan != otherNan) return nan;
  if (!nan && value != other) return largest ? value > other : value < other;
  return index < otherIndex;
}

template <bool largest, class T>
__global__ void argExtremeKernel(AxisSplit split, const T* __restrict__ x, int64_t* __restrict__ out) {
  const int64_t unit = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp;
  if (unit >= split.outer * split.inner) return;
  const T* from = x + unit / split.inner * split.extent * split.inner + unit % split.inner;
  T best = from[0];
  int64_t index = 0;
  for (int64_t i = threadIdx.x % kWarp; i < split.extent; i += kWarp) {
    const T value = from[i * split.inner];
    if (!wins<largest>(value, i, best, index)) continue;
    best = value;
    index = i;
  }
  for (int bits = kWarp / 2; bits > 0; bits /= 2) {
    const T other = static_cast<T>(__shfl_xor_sync(~0u, best, bits));
    const int64_t otherIndex = __shfl_xor_sync(~0u, static_cast<long long>(index), bits);
    if (!wins<largest>(other, otherIndex, best, index)) continue;
    best = other;
    index = otherIndex;
  }
  if (threadIdx.x % kWarp == 0) out[unit] = index;
}

}  // namespace

void reduceCuda(Context& context, Reduction kind, DType dtype, const AxisSplit& split, double divisor, const void* x, void* out, const char* op) {
  dispatchAny(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using Total = std::conditional_t<std::is_floating_point_v<T>, T, int64_t>;
    switch (kind) {
      case Reduction::sum:
      case Reduction::mean: return reduceAs<T, Total, Sum<T>>(context, split, divisor, x, out, op);
      case Reduction::amax:
      case Reduction::any: return reduceAs<T, T, Max<T>>(context, split, divisor, x, out, op);
      default: return reduceAs<T, T, Min<T>>(context, split, divisor, x, out, op);
    }
  });
}

void argExtremeCuda(Context& context, Extreme kind, const AxisSplit& split, const Tensor& x, const Tensor& out, const char* op) {
  const auto blocks = static_cast<unsigned>((split.outer * split.inner + kRowWarps - 1) / kRowWarps);
  dispatchAny(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto kernel = kind == Extreme::argmax ? argExtremeKernel<true, T> : argExtremeKernel<false, T>;
    launch(context, op, kernel, blocks, kThreads, split, x.data<T>(), out.data<int64_t>());
  });
}

}  // namespace md::reduce
