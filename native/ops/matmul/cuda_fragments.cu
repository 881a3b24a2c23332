// The product of our own on matrix units, for f16 and bf16 of any strides: where elements of an operand lie side by side, 16
// bytes at a time are copied while the tile before is multiplied.
#include "../../core/cuda/async_copy.h"
#include "../../core/cuda/fragments.h"
#include "cuda_product.h"

namespace md::matmul {
namespace {

using namespace md::cuda;

constexpr int kDepth = 32;       // of k at a time
constexpr int kBlock = 4 * kWarp;
constexpr int kChunk = 8;        // elements that lie side by side in memory and in a tile
constexpr int kWarpTile = 32;    // rows and columns of C of a warp
constexpr int kParts = kWarpTile / kFragment;
// A tile lies as its operand does: kTile lines of kDepth, or kDepth of kTile; its rows begin in different banks.
constexpr int kAlongDepth = kDepth + kChunk, kAcrossDepth = kTile + kChunk;
constexpr int kTileSize = kTile * kAlongDepth;
static_assert(kTileSize >= kDepth * kAcrossDepth);

/// A or Bᵀ, whose lines are rows or columns of C, as a matrix whose rows are lines or depths.
template <class S>
struct Operand {
  const S* data;
  int64_t rows, columns, rowStride, columnStride;
  bool alongDepth;  // the rows are lines
  bool chunked;     // kChunk elements of a row lie together, at a multiple of 16 bytes

  __device__ int pitch() const { return alongDepth ? kAlongDepth : kAcrossDepth; }
};

/// Starts to fill a tile from line `line` and depth `depth` on, with zeros outside of the operand.
template <class S>
__device__ void request(S* tile, const Operand<S>& from, int64_t offset, int64_t line, int64_t depth) {
  const int chunks = (from.alongDepth ? kDepth : kTile) / kChunk;
  const int64_t firstRow = from.alongDepth ? line : depth, firstColumn = from.alongDepth ? depth : line;
#pragma unroll
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kDepth / kChunk; i += kBlock) {
    const int row = i / chunks, column = i % chunks * kChunk;
    const int64_t left = firstRow + row < from.rows ? from.columns - firstColumn - column : 0;
    const int n = left < 0 ? 0 : left < kChunk ? static_cast<int>(left) : kChunk;
    S* const to = tile + row * from.pitch() + column;
    const S* const at = from.data + offset + (firstRow + row) * from.rowStride + (firstColumn + column) * from.columnStride;
    if (from.chunked) {
      copyAsync(to, n > 0 ? at : from.data, n * static_cast<int>(sizeof(S)));
    } else {
      for (int j = 0; j < kChunk; j++) to[j] = j < n ? at[j * from.columnStride] : S(0);
    }
  }
}

/// The 16x16 of a tile from line `line` and depth `depth` on.
template <class Fragment, class S>
__device__ void loadPart(Fragment& fragment, const S* tile, const Operand<S>& of, int line, int depth) {
  if (of.alongDepth) {
    load<false>(fragment, tile + line * of.pitch() + depth, of.pitch());
  } else {
    load<true>(fragment, tile + depth * of.pitch() + line, of.pitch());
  }
}

/// Four warps of a block have a quarter of its tile of C each.
template <class S>
__global__ void fragmentsKernel(Product<S> g, Operand<S> a, Operand<S> b) {
  MD_SHARED(S, tiles, [2][2][kTileSize]);
  const int64_t firstRow = static_cast<int64_t>(blockIdx.y) * kTile, firstCol = static_cast<int64_t>(blockIdx.x) * kTile;
  const int warp = static_cast<int>(threadIdx.x) / kWarp, ownRow = warp / 2 * kWarpTile, ownCol = warp % 2 * kWarpTile;
  for (int64_t item = blockIdx.z; item < g.items; item += gridDim.z) {
    const Offsets at = offsetsOf(g.batch, item);
    const auto requestBoth = [&](int64_t depth) {
      S(&stage)[2][kTileSize] = tiles[depth / kDepth % 2];
      if (depth < g.k) {
        request(stage[0], a, at.a, firstRow, depth);
        request(stage[1], b, at.b, firstCol, depth);
      }
      commitCopies();
    };
    Accumulator sums[kParts][kParts] = {};
    requestBoth(0);
    for (int64_t depth = 0; depth < g.k; depth += kDepth) {
      requestBoth(depth + kDepth);
      waitForCopies<1>();
      __syncthreads();
      const S(&stage)[2][kTileSize] = tiles[depth / kDepth % 2];
#pragma unroll
      for (int k = 0; k < kDepth; k += kFragment) {
        FragmentA<S> left[kParts];
        FragmentB<S> right[kParts];
#pragma unroll
        for (int i = 0; i < kParts; i++) {
          loadPart(left[i], stage[0], a, ownRow + i * kFragment, k);
          loadPart(right[i], stage[1], b, ownCol + i * kFragment, k);
        }
#pragma unroll
        for (int i = 0; i < kParts; i++) {
#pragma unroll
          for (int j = 0; j < kParts; j++) multiplyAdd(sums[i][j], left[i], right[j]);
        }
      }
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < kParts; i++) {
#pragma unroll
      for (int j = 0; j < kParts; j++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
#pragma unroll
          for (int e = 0; e < 4; e++) {
            store(g, at.c, firstRow + ownRow + i * kFragment + Accumulator::row(e), firstCol + ownCol + j * kFragment + Accumulator::column(half, e),
                  sums[i][j].x[half][e]);
          }
        }
      }
    }
  }
}

template <class S>
Operand<S> operandOf(const S* data, int64_t lines, int64_t depths, int64_t lineStride, int64_t depthStride, const Strides& batch, const int64_t* steps) {
  // Of two axes that do not lie together either will do.
  const bool alongDepth = lineStride != 1;
  Operand<S> operand = alongDepth ? Operand<S>{data, lines, depths, lineStride, depthStride, true, false}
                                  : Operand<S>{data, depths, lines, depthStride, lineStride, false, false};
  const auto whole = [](int64_t stride) { return stride % kChunk == 0; };
  operand.chunked = operand.columnStride == 1 && reinterpret_cast<uintptr_t>(data) % kCopyBytes == 0 && whole(operand.rowStride);
  for (int axis = 0; axis < batch.rank; axis++) operand.chunked = operand.chunked && whole(steps[axis]);
  return operand;
}

}  // namespace

template <class S>
void launchFragments(Context& context, const Product<S>& g, dim3 blocks, const char* op) {
  const Operand<S> a = operandOf(g.a, g.m, g.k, g.aRow, g.aCol, g.batch, g.batch.a), b = operandOf(g.b, g.n, g.k, g.bCol, g.bRow, g.batch, g.batch.b);
  launch(context, op, fragmentsKernel<S>, blocks, kBlock, g, a, b);
}

template void launchFragments(Context&, const Product<Half>&, dim3, const char*);
template void launchFragments(Context&, const Product<BFloat16>&, dim3, const char*);

}  // namespace md::matmul
