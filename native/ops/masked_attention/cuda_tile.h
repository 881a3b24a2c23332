// What the forward and the backward kernel share: which rows a thread block has, tiles in shared memory, masks, dropout.
#pragma once
#include <cmath>
#include <limits>

#include "../../core/cuda/reduce.h"
#include "../../core/philox.h"
#include "cuda.h"

namespace md::masked_attention {

using cuda::kWarp;

constexpr double kLog2E = 1.44269504088896340736;
constexpr double kLn2 = 0.69314718055994530942;

/// Sizes of a thread block for head sizes up to D that keeps `Tiles` tiles [rows][D] and one [rows][rows] in shared memory.
/// Each row belongs to `lanes` neighbouring threads of a warp.
template <class T, int D, int Tiles>
struct Shape {
  static constexpr bool fits(int rows) { return sizeof(T) * static_cast<size_t>(Tiles * rows * (D + 1) + rows * (rows + 1)) <= 48 * 1024; }
  static constexpr int rows = fits(64) ? 64 : fits(32) ? 32 : fits(16) ? 16 : 8;
  static constexpr int lanes = rows < 16 ? rows : cuda::kThreads / rows;
  static constexpr int threads = rows * lanes;
  static constexpr int columns = rows / lanes;   // of a row of weights, that a thread computes
  static constexpr int channels = D / lanes;     // of a row of sums
  static constexpr int parts = kQueryBlock / rows;  // thread blocks for a whole block of the plan
  static_assert(fits(rows) && kQueryBlock == kKeyBlock && kWarp % lanes == 0 && D % lanes == 0);
};

/// f(integral_constant<D>) with the smallest D that holds the head.
template <class F>
void withHeadDim(int64_t headDim, F f) {
  if (headDim <= 16) return f(std::integral_constant<int, 16>{});
  if (headDim <= 32) return f(std::integral_constant<int, 32>{});
  if (headDim <= 64) return f(std::integral_constant<int, 64>{});
  f(std::integral_constant<int, kMostHeadDim>{});
}

/// The blocks of a plan on the device, and one item for each block of each batch item.
struct Item {
  int32_t batch, block;
};
struct DeviceBlocks {
  Tensor blocks, items;
  int64_t count = 0;  // of items

  DeviceBlocks(Context& context, const BlockList& list, const char* op) {
    std::vector<Item> all;
    for (const Segment& segment : list.segments) {
      for (int64_t i = segment.firstBlock; i < segment.lastBlock; i++) all.push_back({static_cast<int32_t>(segment.batch), static_cast<int32_t>(i)});
    }
    count = static_cast<int64_t>(all.size());
    if (count == 0) return;
    static_assert(sizeof(Block) == 7 * sizeof(int64_t) && sizeof(Item) == 2 * sizeof(int32_t));
    blocks = empty(context, DType::i64, {static_cast<int64_t>(list.blocks.size()), 7}, op);
    items = empty(context, DType::i32, {count, 2}, op);
    copyFromHost(context, list.blocks.data(), blocks, op);
    copyFromHost(context, all.data(), items, op);
  }

  const Block* blockData() const { return static_cast<const Block*>(blocks.raw()); }
  const Item* itemData() const { return static_cast<const Item*>(items.raw()); }
  /// A thread block for each part of each block, for each head.
  template <class Shape>
  unsigned grid(int64_t heads) const {
    return static_cast<unsigned>(count * heads * Shape::parts);
  }
};

/// The rows of this thread block.
struct Part {
  Block block;
  int64_t batch, head, first, rows;  // rows <= 0: none
};
template <class Shape>
__device__ Part partOf(const Item* items, const Block* blocks, int64_t heads) {
  const int64_t unit = blockIdx.x / Shape::parts;
  const Item item = items[unit / heads];
  Part part{blocks[item.block], item.batch, unit % heads, 0, 0};
  part.first = part.block.begin + blockIdx.x % Shape::parts * Shape::rows;
  part.rows = part.block.end - part.first;
  if (part.rows > Shape::rows) part.rows = Shape::rows;
  return part;
}

/// to = rows [from, from + n) of one head, stored as S, times `scale`; 0 in the rows and channels that are not there.
template <class S, class T, int R, int Stride>
__device__ void loadTile(T (&to)[R][Stride], const Rows& rows, int64_t batch, int64_t head, int64_t from, int64_t n, int64_t headDim, T scale) {
  constexpr int depth = Stride - 1;  // one more, so that the rows start in different banks
  for (int i = static_cast<int>(threadIdx.x); i < R * depth; i += static_cast<int>(blockDim.x)) {
    const int row = i / depth, d = i % depth;
    to[row][d] = row < n && d < headDim ? static_cast<T>(rows.at<S>(batch, head, from + row)[d]) * scale : T(0);
  }
}

/// The combination over the lanes of a row, in each of them.
template <int Lanes, class T, class Combine>
__device__ T rowReduce(T value, Combine combine) {
  for (int bits = Lanes / 2; bits > 0; bits /= 2) value = combine(value, __shfl_xor_sync(~0u, value, bits));
  return value;
}

__device__ inline bool allows(const Predicate& predicate, int64_t batch, int64_t head, int64_t query, int64_t key) {
  if (predicate.kind == Predicate::Kind::all) return true;
  if (predicate.kind == Predicate::Kind::causal) return key <= query + predicate.offset;
  return predicate.dense[batch * predicate.stride[0] + head * predicate.stride[1] + query * predicate.stride[2] + key * predicate.stride[3]] != 0;
}

/// What dropout multiplies the weight of one query and key by: the numbers of dropout.h.
template <class T>
__device__ T keepOf(const Problem& p, int64_t batch, int64_t head, int64_t query, int64_t key) {
  if (!p.dropout.on()) return T(1);
  const int64_t groups = (p.keys + 7) / 8;
  const auto draw = static_cast<uint64_t>(((batch * p.heads + head) * p.queries + query) * groups + key / 8);
  const uint32_t word = philox(p.dropout.seed, p.dropout.offset + draw).v[key % 8 / 2];
  return (word >> 16 * (key % 2) & 0xFFFFu) >= p.dropout.threshold ? static_cast<T>(p.dropout.factor) : T(0);
}

/// The problem with prepared rows of q and k, and nothing left to prepare. For fragments q, k and v are packed as packRows
/// does.
struct PreparedProblem {
  Problem problem;
  Tensor q, k, v;

  PreparedProblem(Context& context, const Problem& original, CudaKernel kernel, const char* op);
};

/// Makes `rows` of one of the operands such that their channels can be copied 16 bytes at a time: each begins at a multiple
/// of that, and zeros follow the last channel. Returns what holds them, where they were not so before.
Tensor packRows(Context& context, const Problem& problem, Rows& rows, int64_t tokens, const char* op);

// Kernels of cuda_fragments_forward.cu and cuda_fragments_backward.cu, of packed rows.

void forwardFragments(Context& context, const Problem& problem, const DeviceBlocks& list, const Rows& out, float* logSumExp, const char* op);

/// dk and dv of blocks of keys, and dq of blocks of queries; `delta` [B, H, Tq] is Σ_d grad · out.
void backwardFragments(Context& context, const Problem& problem, const Plan& plan, const BackwardRows& rows, const float* delta, const char* op);

}  // namespace md::masked_attention
