// The products on matrix units, for f16 and bf16 with any number of channels: rows are fetched while those before them are
// multiplied, and sums are f32.
#include <initializer_list>

#include "../../core/cuda/async_copy.h"
#include "../../core/cuda/fragments.h"
#include "../../core/cuda/reduce.h"
#include "cuda_product.h"

namespace md::gathered_gemm {
namespace {

using namespace md::cuda;

constexpr int kTilePairs = 64;   // pairs at a time
constexpr int kTileDepth = 32;   // of the depth of a product at a time
constexpr int kParts = kFragmentColumns / kFragment;
constexpr int kPadding = 8;      // elements: rows of a tile begin in different banks
constexpr int kAlongDepth = kTileDepth + kPadding, kAcrossDepth = kFragmentColumns + kPadding;
constexpr int kMatrixTile = kFragmentColumns * kAlongDepth;
static_assert(kMatrixTile >= kTileDepth * kAcrossDepth);
constexpr int kMultiplyThreads = kTilePairs / kFragment * kWarp, kOuterThreads = kParts * kWarp;

__device__ inline int wholeFragments(int64_t n, int most) {
  return n < most ? static_cast<int>(n + kFragment - 1) / kFragment * kFragment : most;
}

/// Starts to copy `chunk` elements that lie together, 8, 4, 2 or 1, or fills their place with zeros where `from` is null.
template <class S>
__device__ void requestChunk(S* to, const S* from, const S* anywhere, int chunk) {
  const S* const at = from ? from : anywhere;
  const int bytes = from ? chunk * static_cast<int>(sizeof(S)) : 0;
  switch (chunk) {
    case 8: return copyAsync<16>(to, at, bytes);
    case 4: return copyAsync<8>(to, at, bytes);
    case 2: return copyAsync<4>(to, at, bytes);
    default: *to = from ? *from : S(0);
  }
}

/// Starts to fill the first `width` elements of `rows` rows of a tile with those of rowAt(row) from `first` on, and with
/// zeros from `extent` on and where that is null.
template <class S, class RowAt>
__device__ void requestRows(S* tile, int pitch, int rows, int width, int64_t first, int64_t extent, int chunk, const S* anywhere, RowAt rowAt) {
  const int chunks = width / chunk;
  for (int i = static_cast<int>(threadIdx.x); i < rows * chunks; i += static_cast<int>(blockDim.x)) {
    const int row = i / chunks, at = i % chunks * chunk;
    const S* const from = first + at < extent ? rowAt(row) : nullptr;
    requestChunk(tile + row * pitch + at, from ? from + first + at : nullptr, anywhere, chunk);
  }
}

/// f(e, column, value) for what a lane holds of fragments side by side: e / 2 is which of its two rows, Accumulator::row(e).
template <class F>
__device__ void eachElement(const Accumulator (&fragments)[kParts], F f) {
#pragma unroll
  for (int part = 0; part < kParts; part++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
#pragma unroll
      for (int e = 0; e < 4; e++) f(e, part * kFragment + Accumulator::column(half, e), fragments[part].x[half][e]);
    }
  }
}

/// Of pairs lane and lane + 32, `to` being their output rows or -1: how many earlier ones have the same row. Returns how
/// many pairs a row has at most, the same in every warp.
__device__ inline int turnsOf(const int32_t (&to)[2], int64_t pairs, int (&turn)[2]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  bool rising = true;
#pragma unroll
  for (int i = 0; i < 2; i++) {
    int32_t before = __shfl_up_sync(~0u, to[i], 1u);
    const int32_t last = __shfl_sync(~0u, to[0], kWarp - 1);
    if (lane == 0) before = i == 0 ? -1 : last;
    rising = rising && (lane + i * kWarp >= pairs || to[i] > before);
    turn[i] = 0;
  }
  if (__all_sync(~0u, rising)) return 1;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    for (int j = 0; j < kWarp; j++) {
      const int32_t other = __shfl_sync(~0u, to[half], j);
#pragma unroll
      for (int i = 0; i < 2; i++) turn[i] += other >= 0 && other == to[i] && j + half * kWarp < lane + i * kWarp;
    }
  }
  return 1 + warpReduce(turn[0] > turn[1] ? turn[0] : turn[1], Larger());
}

/// A block owns kFragmentColumns columns of the output rows of a block of the map, and adds to them offset by offset, in the
/// order of the pairs. Each warp multiplies the rows of 16 pairs.
template <class S>
__global__ void __launch_bounds__(kMultiplyThreads)
    multiplyFragmentsKernel(MultiplyArgs<S> p, int xChunk, int weightChunk, Complaint* complaint, const char* op) {
  MD_SHARED(float, sums, [kBlockRows][kFragmentColumns + kPadding]);
  MD_SHARED(S, inputs, [2][kTilePairs][kAlongDepth]);
  MD_SHARED(S, matrices, [2][kMatrixTile]);
  const Pairs& pairs = p.pairs;
  const int tid = static_cast<int>(threadIdx.x), warp = tid / kWarp, own = warp * kFragment;
  const int64_t block = blockIdx.x, firstRow = block * pairs.blockRows, firstColumn = static_cast<int64_t>(blockIdx.y) * kFragmentColumns;
  const int rows = static_cast<int>(pairs.outputRows - firstRow < kBlockRows ? pairs.outputRows - firstRow : kBlockRows);
  const int columns = static_cast<int>(p.columns - firstColumn < kFragmentColumns ? p.columns - firstColumn : kFragmentColumns);
  const int width = wholeFragments(columns, kFragmentColumns);
  const bool alongDepth = p.depthStride == 1;
  const auto eachSum = [&](auto f) {
    for (int i = tid; i < rows * columns; i += kMultiplyThreads) {
      const int row = i / columns, column = i % columns;
      f(sums[row][column], firstColumn + column, (firstRow + row) * p.columns + firstColumn + column);
    }
  };
  eachSum([&](float& sum, int64_t column, int64_t) { sum = p.bias ? static_cast<float>(p.bias[column]) : 0; });

  /// Up to kTilePairs pairs of an offset, and up to kTileDepth of their depth.
  struct Step {
    int64_t k, begin, end, depth;
  };
  const auto next = [&](Step& at) {
    at.depth += kTileDepth;
    if (at.depth < p.depth) return;
    at.depth = 0;
    at.begin += kTilePairs;
    while (at.begin >= at.end && ++at.k < pairs.kernels) {
      const Range range = pairsOf(pairs, block * pairs.kernels + at.k, p.count);
      at.begin = range.begin;
      at.end = range.end;
    }
  };
  const auto request = [&](const Step& at, int stage) {
    if (at.k < pairs.kernels) {
      const int depths = wholeFragments(p.depth - at.depth, kTileDepth);
      requestRows(&inputs[stage][0][0], kAlongDepth, wholeFragments(at.end - at.begin, kTilePairs), depths, at.depth, p.depth, xChunk, p.x, [&](int row) -> const S* {
        const int64_t h = at.begin + row, from = h < at.end ? pairs.inputs[h] : -1;
        return from >= 0 && from < pairs.inputRows ? p.x + from * p.depth : nullptr;
      });
      const S* const weight = p.weight + (p.mirrored ? pairs.kernels - 1 - at.k : at.k) * p.kernelStride;
      if (alongDepth) {
        requestRows(matrices[stage], kAlongDepth, width, depths, at.depth, p.depth, weightChunk, p.weight,
                    [&](int row) -> const S* { return row < columns ? weight + (firstColumn + row) * p.columnStride : nullptr; });
      } else {
        requestRows(matrices[stage], kAcrossDepth, depths, width, firstColumn, p.columns, weightChunk, p.weight,
                    [&](int row) -> const S* { return at.depth + row < p.depth ? weight + (at.depth + row) * p.depthStride : nullptr; });
      }
    }
    commitCopies();
  };

  Accumulator products[kParts] = {};
  Step at{-1, 0, 0, p.depth};
  next(at);
  request(at, 0);
  for (int stage = 0; at.k < pairs.kernels; stage = 1 - stage) {
    Step ahead = at;
    next(ahead);
    request(ahead, 1 - stage);
    const bool last = at.depth + kTileDepth >= p.depth;
    int32_t to[2] = {-1, -1};
    if (last) {
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const int64_t h = at.begin + tid % kWarp + i * kWarp;
        if (h < at.end && validPair(pairs, block, h, complaint, op)) to[i] = static_cast<int32_t>(pairs.outputs[h] - firstRow);
      }
    }
    waitForCopies<1>();
    __syncthreads();
    if (at.begin + own < at.end) {
#pragma unroll
      for (int depth = 0; depth < kTileDepth; depth += kFragment) {
        if (at.depth + depth >= p.depth) break;
        FragmentA<S> left;
        load<false>(left, &inputs[stage][own][depth], kAlongDepth);
#pragma unroll
        for (int part = 0; part < kParts; part++) {
          if (part * kFragment >= width) break;
          FragmentB<S> right;
          if (alongDepth) {
            load<false>(right, matrices[stage] + part * kFragment * kAlongDepth + depth, kAlongDepth);
          } else {
            load<true>(right, matrices[stage] + depth * kAcrossDepth + part * kFragment, kAcrossDepth);
          }
          multiplyAdd(products[part], left, right);
        }
      }
    }
    if (last) {
      int turn[2];
      const int turns = turnsOf(to, at.end - at.begin, turn);
      // The lane's two rows of the fragment.
      int32_t row[2];
      int ownTurn[2];
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const int lane = (own + Accumulator::row(2 * i)) % kWarp;
        row[i] = __shfl_sync(~0u, own < kWarp ? to[0] : to[1], lane);
        ownTurn[i] = __shfl_sync(~0u, own < kWarp ? turn[0] : turn[1], lane);
      }
      for (int now = 0; now < turns; now++) {
        if (now > 0) __syncthreads();
        eachElement(products, [&](int e, int column, float product) {
          if (row[e / 2] >= 0 && ownTurn[e / 2] == now && column < columns) sums[row[e / 2]][column] += product;
        });
      }
#pragma unroll
      for (int part = 0; part < kParts; part++) products[part] = {};
    }
    __syncthreads();
    at = ahead;
  }
  eachSum([&](float& sum, int64_t, int64_t place) { p.out[place] = S(sum); });
}

/// A block owns a tile of one offset's gradient, over the pairs of a share of the map's blocks; a warp has 16 of its rows.
template <class S>
__global__ void __launch_bounds__(kOuterThreads) outerFragmentsKernel(OuterArgs<S> p, int gradChunk, int xChunk, Complaint* complaint, const char* op) {
  MD_SHARED(S, tiles, [2][2][kTilePairs][kAcrossDepth]);  // by stage: gradients, inputs
  const Pairs& pairs = p.pairs;
  const int own = static_cast<int>(threadIdx.x) / kWarp * kFragment;
  const int64_t k = blockIdx.x % pairs.kernels, split = blockIdx.x / pairs.kernels;
  const int64_t firstColumn = static_cast<int64_t>(blockIdx.y) * kFragmentColumns, firstDepth = static_cast<int64_t>(blockIdx.z) * kFragmentColumns;
  const int columns = wholeFragments(p.columns - firstColumn, kFragmentColumns), depths = wholeFragments(p.depth - firstDepth, kFragmentColumns);
  const int64_t endBlock = p.blocks * (split + 1) / p.splits;

  struct Step {
    int64_t block, begin, end;
  };
  const auto next = [&](Step& at) {
    at.begin += kTilePairs;
    while (at.begin >= at.end && ++at.block < endBlock) {
      const Range range = pairsOf(pairs, at.block * pairs.kernels + k, p.count);
      at.begin = range.begin;
      at.end = range.end;
    }
  };
  const auto request = [&](const Step& at, int stage) {
    if (at.block < endBlock) {
      const int count = wholeFragments(at.end - at.begin, kTilePairs);
      const auto valid = [&](int64_t h) { return h < at.end && validPair(pairs, at.block, h, complaint, op); };
      requestRows(&tiles[stage][0][0][0], kAcrossDepth, count, columns, firstColumn, p.columns, gradChunk, p.grad, [&](int row) -> const S* {
        const int64_t h = at.begin + row;
        return valid(h) ? p.grad + pairs.outputs[h] * p.columns : nullptr;
      });
      requestRows(&tiles[stage][1][0][0], kAcrossDepth, count, depths, firstDepth, p.depth, xChunk, p.x, [&](int row) -> const S* {
        const int64_t h = at.begin + row;
        return valid(h) ? p.x + pairs.inputs[h] * p.depth : nullptr;
      });
    }
    commitCopies();
  };

  Accumulator sums[kParts] = {};
  Step at{p.blocks * split / p.splits - 1, 0, 0};
  next(at);
  request(at, 0);
  for (int stage = 0; at.block < endBlock; stage = 1 - stage) {
    Step ahead = at;
    next(ahead);
    request(ahead, 1 - stage);
    waitForCopies<1>();
    __syncthreads();
    if (own < columns) {
#pragma unroll
      for (int pair = 0; pair < kTilePairs; pair += kFragment) {
        if (at.begin + pair >= at.end) break;
        FragmentA<S> left;
        load<true>(left, &tiles[stage][0][pair][own], kAcrossDepth);
#pragma unroll
        for (int part = 0; part < kParts; part++) {
          if (part * kFragment >= depths) break;
          FragmentB<S> right;
          load<true>(right, &tiles[stage][1][pair][part * kFragment], kAcrossDepth);
          multiplyAdd(sums[part], left, right);
        }
      }
    }
    __syncthreads();
    at = ahead;
  }
  eachElement(sums, [&](int e, int column, float sum) {
    const int64_t c = firstColumn + own + Accumulator::row(e), d = firstDepth + column;
    if (c < p.columns && d < p.depth) p.partial[((split * pairs.kernels + k) * p.columns + c) * p.depth + d] = sum;
  });
}

/// How many elements can be copied at once: 16 bytes, or less where rows begin at, or end at, multiples of less.
template <class S>
int chunkOf(const S* data, std::initializer_list<int64_t> extents) {
  int64_t all = kCopyBytes / static_cast<int64_t>(sizeof(S)) | static_cast<int64_t>(reinterpret_cast<uintptr_t>(data) / sizeof(S));
  for (const int64_t extent : extents) all |= extent;
  return static_cast<int>(all & -all);
}

unsigned tilesOf(int64_t columns) { return static_cast<unsigned>((columns + kFragmentColumns - 1) / kFragmentColumns); }

}  // namespace

template <class S>
void launchMultiplyFragments(Context& context, const MultiplyArgs<S>& p, const char* op) {
  const int64_t rowStride = p.depthStride == 1 ? p.columnStride : p.depthStride, extent = p.depthStride == 1 ? p.depth : p.columns;
  launch(context, op, multiplyFragmentsKernel<S>, dim3(static_cast<unsigned>(blocksOf(p.pairs)), tilesOf(p.columns)), kMultiplyThreads, p,
         chunkOf(p.x, {p.depth}), chunkOf(p.weight, {p.kernelStride, rowStride, extent}), complaintOf(context), op);
}

template <class S>
void launchOuterFragments(Context& context, const OuterArgs<S>& p, const char* op) {
  launch(context, op, outerFragmentsKernel<S>, dim3(static_cast<unsigned>(p.pairs.kernels * p.splits), tilesOf(p.columns), tilesOf(p.depth)), kOuterThreads, p,
         chunkOf(p.grad, {p.columns}), chunkOf(p.x, {p.depth}), complaintOf(context), op);
}

template void launchMultiplyFragments(Context&, const MultiplyArgs<Half>&, const char*);
template void launchMultiplyFragments(Context&, const MultiplyArgs<BFloat16>&, const char*);
template void launchOuterFragments(Context&, const OuterArgs<Half>&, const char*);
template void launchOuterFragments(Context&, const OuterArgs<BFloat16>&, const char*);

}  // namespace md::gathered_gemm
