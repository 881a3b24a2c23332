#include "cuda.h"

#include <algorithm>
#include <bit>

#include "../../core/cuda/fragments.h"
#include "../../core/cuda/scan.h"
#include "../../core/cuda/warp.h"
#include "../elementwise/cuda.h"
#include "../sort/op.h"
#include "cuda_product.h"

namespace md::gathered_gemm {
namespace {

using namespace md::cuda;

constexpr int kGroupWarps = kThreads / kWarp;
// Tiles: of a product, kPairs pairs by kColumns columns; of a weight's gradient, kColumns columns by kColumns of the depth.
constexpr int kPairs = 32, kColumns = 64, kDepth = 16;
constexpr int kSide = 16;  // threads along a tile
constexpr int64_t kWantedBlocks = 1024;  // that fill a device

__global__ void checkStarts(int64_t groups, int64_t count, const int32_t* __restrict__ starts, Complaint* complaint, const char* op) {
  gridStride(groups + 1, [&](int64_t i) {
    const bool rising = (i > 0 || starts[0] == 0) && (i < groups ? starts[i] <= starts[i + 1] : starts[i] <= count);
    if (!rising) complain(complaint, op, Wrong::pairStarts, i, starts[i], count);
  });
}

/// A warp takes a group, 32 output rows at a time. Counts pairs, or emits them where the counts have become starts.
template <bool Emit>
__global__ void groupPairs(int64_t outputs, int64_t kernels, int64_t inputs, int64_t groups, const int32_t* __restrict__ neighbours, int32_t* starts,
                           int32_t* __restrict__ from, int32_t* __restrict__ to, Complaint* complaint, const char* op) {
  const int64_t group = static_cast<int64_t>(blockIdx.x) * kGroupWarps + threadIdx.x / kWarp;
  if (group >= groups) return;
  const int64_t k = group % kernels, first = group / kernels * kBlockRows, end = first + kBlockRows < outputs ? first + kBlockRows : outputs;
  int32_t place = Emit ? starts[group] : 0;
  for (int64_t begin = first; begin < end; begin += kWarp) {
    const int64_t row = begin + threadIdx.x % kWarp;
    const int32_t input = row < end ? neighbours[row * kernels + k] : -1;
    const bool hit = input >= 0 && input < inputs;
    if (!Emit && !hit && input != -1) complain(complaint, op, Wrong::index, row * kernels + k, input, inputs);
    const unsigned hits = __ballot_sync(~0u, hit);
    if (Emit && hit) {
      from[place + bitsOf(hits & lowerLanes())] = input;
      to[place + bitsOf(hits & lowerLanes())] = static_cast<int32_t>(row);
    }
    place += bitsOf(hits);
  }
  if (!Emit && threadIdx.x % kWarp == 0) starts[group] = place;
}

/// codes [count]: the group of each pair in the transposed map, behind all of them where there is no pair; order [count]: its own number.
__global__ void transposedGroups(Pairs pairs, int64_t groups, int64_t groupsOut, int64_t count, int64_t blockRows, int64_t* __restrict__ codes, int32_t* __restrict__ order,
                                 Complaint* complaint, const char* op) {
  gridStride(count, [&](int64_t h) {
    int64_t low = 0, high = groups - 1;  // the last group that starts no later than the pair
    while (low < high) {
      const int64_t middle = (low + high + 1) / 2;
      if (pairs.starts[middle] <= h) low = middle;
      else high = middle - 1;
    }
    order[h] = static_cast<int32_t>(h);
    codes[h] = groupsOut;
    if (h >= pairs.starts[groups]) return;
    const bool valid = validPair(pairs, low / pairs.kernels, h, complaint, op);
    codes[h] = (valid ? pairs.inputs[h] / blockRows : 0) * pairs.kernels + low % pairs.kernels;
  });
}

__global__ void exchangePairs(int64_t count, Pairs pairs, const int32_t* __restrict__ order, int32_t* __restrict__ from, int32_t* __restrict__ to) {
  gridStride(count, [&](int64_t i) {
    from[i] = pairs.outputs[order[i]];
    to[i] = pairs.inputs[order[i]];
  });
}

/// starts[g]: the number of sorted codes below g.
__global__ void startsOfSorted(int64_t groups, int64_t count, const int64_t* __restrict__ codes, int32_t* __restrict__ starts) {
  gridStride(groups + 1, [&](int64_t g) {
    int64_t low = 0, high = count;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (codes[middle] < g) low = middle + 1;
      else high = middle;
    }
    starts[g] = static_cast<int32_t>(low);
  });
}

/// A block owns kColumns columns of the output rows of a block of the map. One thread owns all sums of a column and every
/// fourth row, and adds to them in the order of the pairs: a row may occur in a group as often as it likes.
template <class T>
__global__ void multiplyKernel(MultiplyArgs<T> p, Complaint* complaint, const char* op) {
  MD_SHARED(int32_t, from, [kPairs]);
  MD_SHARED(int32_t, to, [kPairs]);
  MD_SHARED(T, inputs, [kDepth][kPairs + 1]);
  MD_SHARED(T, matrix, [kDepth][kColumns + 1]);
  MD_SHARED(T, products, [kPairs][kColumns]);
  constexpr int owners = kThreads / kColumns;
  const Pairs& pairs = p.pairs;
  const int tid = static_cast<int>(threadIdx.x), ownPair = tid / kSide, ownColumn = tid % kSide;
  const int64_t block = blockIdx.x, firstRow = block * pairs.blockRows, firstColumn = static_cast<int64_t>(blockIdx.y) * kColumns;
  const int64_t endRow = firstRow + pairs.blockRows < pairs.outputRows ? firstRow + pairs.blockRows : pairs.outputRows;
  const int64_t column = firstColumn + tid % kColumns;
  const int owner = tid / kColumns;
  for (int64_t row = firstRow; row < endRow; row++) {
    if (row % owners == owner && column < p.columns) p.out[row * p.columns + column] = p.bias ? p.bias[column] : T(0);
  }
  for (int64_t k = 0; k < pairs.kernels; k++) {
    const Range range = pairsOf(pairs, block * pairs.kernels + k, p.count);
    const T* weight = p.weight + (p.mirrored ? pairs.kernels - 1 - k : k) * p.kernelStride;
    for (int64_t begin = range.begin; begin < range.end; begin += kPairs) {
      if (tid < kPairs) {
        const bool valid = begin + tid < range.end && validPair(pairs, block, begin + tid, complaint, op);
        from[tid] = valid ? pairs.inputs[begin + tid] : -1;
        to[tid] = valid ? pairs.outputs[begin + tid] : -1;
      }
      __syncthreads();
      T sums[kPairs / kSide][kColumns / kSide] = {};
      for (int64_t depth = 0; depth < p.depth; depth += kDepth) {
        for (int i = tid; i < kPairs * kDepth; i += kThreads) {
          const int pair = i / kDepth, d = i % kDepth;
          inputs[d][pair] = from[pair] >= 0 && depth + d < p.depth ? p.x[from[pair] * p.depth + depth + d] : T(0);
        }
        for (int i = tid; i < kColumns * kDepth; i += kThreads) {
          // Neighbouring threads read neighbouring elements.
          const int c = p.columnStride == 1 ? i % kColumns : i / kDepth, d = p.columnStride == 1 ? i / kColumns : i % kDepth;
          const bool in = firstColumn + c < p.columns && depth + d < p.depth;
          matrix[d][c] = in ? weight[(firstColumn + c) * p.columnStride + (depth + d) * p.depthStride] : T(0);
        }
        __syncthreads();
        for (int d = 0; d < kDepth; d++) {
          for (int i = 0; i < kPairs / kSide; i++) {
            const T value = inputs[d][ownPair + i * kSide];
            for (int j = 0; j < kColumns / kSide; j++) sums[i][j] += value * matrix[d][ownColumn + j * kSide];
          }
        }
        __syncthreads();
      }
      for (int i = 0; i < kPairs / kSide; i++) {
        for (int j = 0; j < kColumns / kSide; j++) products[ownPair + i * kSide][ownColumn + j * kSide] = sums[i][j];
      }
      __syncthreads();
      if (column < p.columns) {
        for (int pair = 0; pair < kPairs; pair++) {
          if (to[pair] >= 0 && to[pair] % owners == owner) p.out[to[pair] * p.columns + column] += products[pair][tid % kColumns];
        }
      }
      __syncthreads();
    }
  }
}

/// A block owns a tile of one offset's gradient, over the pairs of a share of the map's blocks.
template <class T>
__global__ void outerKernel(OuterArgs<T> p, Complaint* complaint, const char* op) {
  MD_SHARED(T, grads, [kDepth][kColumns]);
  MD_SHARED(T, inputs, [kDepth][kColumns]);
  const Pairs& pairs = p.pairs;
  const int tid = static_cast<int>(threadIdx.x), ownRow = tid / kSide, ownColumn = tid % kSide;
  const int64_t k = blockIdx.x % pairs.kernels, split = blockIdx.x / pairs.kernels;
  const int64_t firstColumn = static_cast<int64_t>(blockIdx.y) * kColumns, firstDepth = static_cast<int64_t>(blockIdx.z) * kColumns;
  T sums[kColumns / kSide][kColumns / kSide] = {};
  for (int64_t block = p.blocks * split / p.splits; block < p.blocks * (split + 1) / p.splits; block++) {
    const Range range = pairsOf(pairs, block * pairs.kernels + k, p.count);
    for (int64_t begin = range.begin; begin < range.end; begin += kDepth) {
      for (int i = tid; i < kDepth * kColumns; i += kThreads) {
        const int pair = i / kColumns, c = i % kColumns;
        const int64_t h = begin + pair;
        const bool valid = h < range.end && validPair(pairs, block, h, complaint, op);
        grads[pair][c] = valid && firstColumn + c < p.columns ? p.grad[pairs.outputs[h] * p.columns + firstColumn + c] : T(0);
        inputs[pair][c] = valid && firstDepth + c < p.depth ? p.x[pairs.inputs[h] * p.depth + firstDepth + c] : T(0);
      }
      __syncthreads();
      for (int pair = 0; pair < kDepth; pair++) {
        for (int i = 0; i < kColumns / kSide; i++) {
          const T value = grads[pair][ownRow + i * kSide];
          for (int j = 0; j < kColumns / kSide; j++) sums[i][j] += value * inputs[pair][ownColumn + j * kSide];
        }
      }
      __syncthreads();
    }
  }
  for (int i = 0; i < kColumns / kSide; i++) {
    for (int j = 0; j < kColumns / kSide; j++) {
      const int64_t c = firstColumn + ownRow + i * kSide, d = firstDepth + ownColumn + j * kSide;
      if (c < p.columns && d < p.depth) p.partial[((split * pairs.kernels + k) * p.columns + c) * p.depth + d] = sums[i][j];
    }
  }
}

template <class S>
__global__ void addSplits(int64_t n, int64_t splits, int64_t columns, int64_t depth, int64_t kernelStride, int64_t columnStride, int64_t depthStride,
                          const Computed<S>* __restrict__ partial, S* __restrict__ weight) {
  gridStride(n, [&](int64_t i) {
    Computed<S> total = partial[i];
    for (int64_t split = 1; split < splits; split++) total += partial[split * n + i];
    weight[i / depth / columns * kernelStride + i / depth % columns * columnStride + i % depth * depthStride] = static_cast<S>(total);
  });
}

/// Whether f16 and bf16 have to be widened first.
bool widens(const CudaPlan& cuda, DType dtype) { return isHalf(dtype) && cuda.kernel == CudaKernel::scalar; }

}  // namespace

PairMap mapPairsCuda(Context& context, const Tensor& neighbours, int64_t inputs, bool roomy, const char* op) {
  const int64_t outputs = neighbours.dim(0), kernels = neighbours.dim(1), groups = (outputs + kBlockRows - 1) / kBlockRows * kernels;
  PairMap map;
  map.starts = empty(context, DType::i32, {groups + 1}, op);
  const auto blocks = static_cast<unsigned>((groups + kGroupWarps - 1) / kGroupWarps);
  int32_t* const none = nullptr;
  if (groups > 0) {
    launch(context, op, groupPairs<false>, blocks, kThreads, outputs, kernels, inputs, groups, neighbours.data<int32_t>(), map.starts.data<int32_t>(), none, none,
           complaintOf(context), op);
  }
  startsOf(context, map.starts, op);
  auto count = static_cast<int32_t>(neighbours.numel());
  if (!roomy) context.stream.queue->download(map.starts.data<int32_t>() + groups, &count, sizeof(count), op);
  map.inputs = empty(context, DType::i32, {count}, op);
  map.outputs = empty(context, DType::i32, {count}, op);
  if (roomy) {
    clear(context, map.inputs, op);
    clear(context, map.outputs, op);
  }
  if (count > 0) {
    launch(context, op, groupPairs<true>, blocks, kThreads, outputs, kernels, inputs, groups, neighbours.data<int32_t>(), map.starts.data<int32_t>(),
           map.inputs.data<int32_t>(), map.outputs.data<int32_t>(), complaintOf(context), op);
  }
  return map;
}

void checkStartsCuda(Context& context, const Pairs& pairs, int64_t count, const char* op) {
  const int64_t groups = blocksOf(pairs) * pairs.kernels;
  launch(context, op, checkStarts, blocksFor(groups + 1), kThreads, groups, count, pairs.starts, complaintOf(context), op);
}

PairMap transposeCuda(Context& context, const Pairs& pairs, int64_t count, const char* op) {
  const int64_t groups = (pairs.inputRows + kBlockRows - 1) / kBlockRows * pairs.kernels;
  const auto room = [&](int64_t size) { return empty(context, DType::i32, {size}, op); };
  const PairMap map{room(count), room(count), room(groups + 1)};
  Tensor codes = empty(context, DType::i64, {count}, op), order = empty(context, DType::i32, {count}, op);
  if (count > 0) {
    launch(context, op, transposedGroups, blocksFor(count), kThreads, pairs, blocksOf(pairs) * pairs.kernels, groups, count, kBlockRows, codes.data<int64_t>(),
           order.data<int32_t>(), complaintOf(context), op);
    sort::radixSort(context, codes, order, std::bit_width(static_cast<uint64_t>(groups)), op);
    launch(context, op, exchangePairs, blocksFor(count), kThreads, count, pairs, order.data<int32_t>(), map.inputs.data<int32_t>(), map.outputs.data<int32_t>());
  }
  launch(context, op, startsOfSorted, blocksFor(groups + 1), kThreads, groups, count, codes.data<int64_t>(), map.starts.data<int32_t>());
  return map;
}

CudaPlan planCuda(const Context& context, DType dtype) {
  if (!isHalf(dtype)) return {CudaKernel::scalar, "matrix units would round f32 and f64"};
  if (!hasMatrixUnits(context)) return {CudaKernel::scalar, "compute capability below 8.0"};
  return {CudaKernel::fragments, "f16 and bf16 fit matrix units"};
}

void multiplyCuda(Context& context, const CudaPlan& cuda, const Pairs& pairs, int64_t count, const Tensor& x, const Matrices& weight, const Tensor* bias,
                  const Tensor& out, const char* op) {
  if (out.numel() == 0) return;
  if (widens(cuda, x.dtype)) {
    const auto wide = [&](const Tensor& narrow) { return elementwise::cast(context, narrow, DType::f32, op); };
    Matrices matrices = weight;
    matrices.values = wide(weight.values);
    const Tensor added = bias ? wide(*bias) : Tensor{}, sums = empty(context, DType::f32, out.shape, op);
    multiplyCuda(context, cuda, pairs, count, wide(x), matrices, bias ? &added : nullptr, sums, op);
    return elementwise::castCuda(context, sums, out, op);
  }
  dispatchStoredFloat(x.dtype, op, [&](auto tag) {
    using S = typename decltype(tag)::type;
    const MultiplyArgs<S> args{pairs, count, weight.depth, weight.columns, x.data<S>(), weight.values.data<S>(), weight.kernelStride, weight.columnStride,
                               weight.depthStride, weight.mirrored, bias ? bias->data<S>() : nullptr, out.data<S>()};
    if constexpr (sizeof(S) == 2) {
      launchMultiplyFragments(context, args, op);
    } else {
      const dim3 blocks(static_cast<unsigned>(blocksOf(pairs)), static_cast<unsigned>((weight.columns + kColumns - 1) / kColumns));
      launch(context, op, multiplyKernel<S>, blocks, kThreads, args, complaintOf(context), op);
    }
  });
}

void weightGradCuda(Context& context, const CudaPlan& cuda, const Pairs& pairs, int64_t count, const Tensor& x, const Tensor& grad, const Matrices& weight,
                    const char* op) {
  const int64_t n = weight.kernels * weight.columns * weight.depth, blocks = blocksOf(pairs);
  if (n == 0) return;
  if (widens(cuda, x.dtype)) {
    const auto wide = [&](const Tensor& narrow) { return elementwise::cast(context, narrow, DType::f32, op); };
    Matrices sums = weight;
    sums.values = empty(context, DType::f32, weight.values.shape, op);
    weightGradCuda(context, cuda, pairs, count, wide(x), wide(grad), sums, op);
    return elementwise::castCuda(context, sums.values, weight.values, op);
  }
  const int64_t tile = cuda.kernel == CudaKernel::fragments ? kFragmentColumns : kColumns;
  const int64_t columnTiles = (weight.columns + tile - 1) / tile, depthTiles = (weight.depth + tile - 1) / tile;
  // By the shapes alone: the same bits on every device.
  const int64_t splits = std::clamp<int64_t>(kWantedBlocks / (weight.kernels * columnTiles * depthTiles), 1, std::max<int64_t>(1, blocks));
  const Tensor partial = empty(context, computedDType(x.dtype), {splits, n}, op);
  dispatchStoredFloat(x.dtype, op, [&](auto tag) {
    using S = typename decltype(tag)::type;
    const OuterArgs<S> args{pairs, count, weight.depth, weight.columns, blocks, splits, x.data<S>(), grad.data<S>(), partial.data<Computed<S>>()};
    if constexpr (sizeof(S) == 2) {
      launchOuterFragments(context, args, op);
    } else {
      const dim3 grid(static_cast<unsigned>(weight.kernels * splits), static_cast<unsigned>(columnTiles), static_cast<unsigned>(depthTiles));
      launch(context, op, outerKernel<S>, grid, kThreads, args, complaintOf(context), op);
    }
    launch(context, op, addSplits<S>, blocksFor(n), kThreads, n, splits, weight.columns, weight.depth, weight.kernelStride, weight.columnStride,
           weight.depthStride, partial.data<Computed<S>>(), weight.values.data<S>());
  });
}

}  // namespace md::gathered_gemm
