// What the kernels on matrix units share. A thread block has 64 rows of one side, a warp 16 of them in fragments; tiles of
// the other side come by asynchronous copies. A lane has two rows, which it shares with the three others of its group.
#pragma once
#include "../../core/cuda/async_copy.h"
#include "../../core/cuda/fragments.h"
#include "cuda_tile.h"

namespace md::masked_attention {

using cuda::Accumulator;
using cuda::FragmentA;
using cuda::FragmentB;
using cuda::kFragment;

/// Sizes for head sizes up to D; two stages of two tiles fit into shared memory.
template <int D>
struct FragmentShape {
  static constexpr int rows = kQueryBlock, parts = 1;
  static constexpr int threads = rows / kFragment * kWarp;
  static constexpr int tile = D <= 64 ? 64 : 32;  // tokens of the other side
  static constexpr int pitch = D + 8;             // rows of a tile begin in different banks
  static constexpr int steps = D / kFragment;
};

/// f(integral_constant<D>) with the smallest D that holds the head: kernels leave out steps beyond the head.
template <class F>
void withFragmentDim(int64_t headDim, F f) {
  if (headDim <= 16) return f(std::integral_constant<int, 16>{});
  if (headDim <= 64) return f(std::integral_constant<int, 64>{});
  f(std::integral_constant<int, kMostHeadDim>{});
}

/// The two rows of this lane, by i: tokens of the thread block's part.
struct LaneRows {
  int64_t batch, head, token[2];  // rows that are not there repeat the first, unseen
  bool there[2];
  bool idle;  // none of the warp's rows is there

  __device__ explicit LaneRows(const Part& part) : batch(part.batch), head(part.head) {
    const int first = static_cast<int>(threadIdx.x) / kWarp * kFragment;
    idle = first >= part.rows;
    for (int i = 0; i < 2; i++) {
      const int row = first + Accumulator::row(2 * i);
      there[i] = row < part.rows;
      token[i] = part.first + (there[i] ? row : 0);
    }
  }
};

/// Channels d and d + 1 of a packed row, the first of them even.
template <class S>
__device__ uint32_t pairAt(const S* row, int d, int64_t headDim) {
  return d < headDim ? *reinterpret_cast<const uint32_t*>(row + d) : 0;
}

template <class S, int Steps>
__device__ void loadRows(FragmentA<S> (&to)[Steps], const Rows& rows, const LaneRows& own, int64_t headDim) {
#pragma unroll
  for (int step = 0; step < Steps; step++) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      to[step].x[i] = pairAt(rows.at<S>(own.batch, own.head, own.token[i % 2]), step * kFragment + Accumulator::column(i / 2, 0), headDim);
    }
  }
}

/// The product of row i of the lane with a packed row in memory, summed over the lanes of its group.
template <class S, int Steps>
__device__ float dotOf(const FragmentA<S> (&rows)[Steps], int i, const S* other, int64_t headDim) {
  float sum = 0;
#pragma unroll
  for (int step = 0; step < Steps; step++) {
    if (step * kFragment >= headDim) break;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const uint32_t pair = pairAt(other, step * kFragment + Accumulator::column(half, 0), headDim);
      for (int e = 0; e < 2; e++) sum += cuda::unpacked<S>(rows[step].x[2 * half + i], e) * cuda::unpacked<S>(pair, e);
    }
  }
  return rowReduce<4>(sum, cuda::Add());
}

/// Row i of the sums += factor · a packed row in memory.
template <class S, int Steps>
__device__ void addRow(Accumulator (&sums)[Steps], int i, float factor, const S* other, int64_t headDim) {
#pragma unroll
  for (int step = 0; step < Steps; step++) {
    if (step * kFragment >= headDim) break;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const uint32_t pair = pairAt(other, step * kFragment + Accumulator::column(half, 0), headDim);
      for (int e = 0; e < 2; e++) sums[step].x[half][2 * i + e] += factor * cuda::unpacked<S>(pair, e);
    }
  }
}

/// sums += a times the 16 tokens of a tile from `token` on.
template <class S, int Steps, int Pitch>
__device__ void addTokens(Accumulator (&sums)[Steps], const FragmentA<S>& a, const S (*tile)[Pitch], int token, int64_t headDim) {
#pragma unroll
  for (int step = 0; step < Steps; step++) {
    if (step * kFragment >= headDim) break;
    FragmentB<S> b;
    cuda::load<true>(b, &tile[token][step * kFragment], Pitch);
    cuda::multiplyAdd(sums[step], a, b);
  }
}
/// Products of the lane's rows with the 16 tokens of a tile from `token` on.
template <class S, int Steps, int Pitch>
__device__ Accumulator meetTokens(const FragmentA<S> (&rows)[Steps], const S (*tile)[Pitch], int token, int64_t headDim) {
  Accumulator sums{};
#pragma unroll
  for (int step = 0; step < Steps; step++) {
    if (step * kFragment >= headDim) break;
    FragmentB<S> b;
    cuda::load<false>(b, &tile[token][step * kFragment], Pitch);
    cuda::multiplyAdd(sums, rows[step], b);
  }
  return sums;
}

/// Writes row i of the sums, times `factor`.
template <class S, int Steps>
__device__ void storeRow(const Accumulator (&sums)[Steps], int i, float factor, S* row, int64_t headDim) {
#pragma unroll
  for (int step = 0; step < Steps; step++) {
    if (step * kFragment >= headDim) break;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const uint32_t both = cuda::packed<S>(sums[step].x[half][2 * i] * factor, sums[step].x[half][2 * i + 1] * factor);
      const int d = step * kFragment + Accumulator::column(half, 0);
      if (d < headDim) row[d].bits = static_cast<uint16_t>(both);
      if (d + 1 < headDim) row[d + 1].bits = static_cast<uint16_t>(both >> 16);
    }
  }
}

/// Starts to fill a tile with packed rows of tokens [from, from + n), and with zeros up to whole fragments.
template <class S, int Tokens, int Pitch>
__device__ void requestTile(S (&tile)[Tokens][Pitch], const Rows& rows, int64_t batch, int64_t head, int64_t from, int64_t n, int64_t headDim) {
  constexpr int chunk = cuda::kCopyBytes / static_cast<int>(sizeof(S));
  const int chunks = static_cast<int>(headDim + kFragment - 1) / kFragment * (kFragment / chunk);
  const int count = static_cast<int>(n + kFragment - 1) / kFragment * kFragment * chunks;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) {
    const int row = i / chunks, d = i % chunks * chunk;
    const bool there = row < n && d < headDim;
    cuda::copyAsync(&tile[row][d], there ? rows.at<S>(batch, head, from + row) + d : rows.data, there ? cuda::kCopyBytes : 0);
  }
}

/// meet(stage, from, n) for tiles of at most Tokens tokens of both ranges; request(stage, from, n) starts to fetch the next
/// one into the other stage beforehand.
template <int Tokens, class Request, class Meet>
__device__ void eachTile(const Block& block, Request request, Meet meet) {
  int64_t tiles[2];
  for (int range = 0; range < 2; range++) {
    const int64_t length = block.rangeEnd[range] - block.rangeBegin[range];
    tiles[range] = length > 0 ? (length + Tokens - 1) / Tokens : 0;
  }
  const int64_t count = tiles[0] + tiles[1];
  const auto at = [&](int64_t index, auto f) {
    const int range = index < tiles[0] ? 0 : 1;
    const int64_t from = block.rangeBegin[range] + (index - (range == 0 ? 0 : tiles[0])) * Tokens, left = block.rangeEnd[range] - from;
    f(static_cast<int>(index % 2), from, left < Tokens ? left : int64_t{Tokens});
  };
  if (count > 0) at(0, request);
  cuda::commitCopies();
  for (int64_t index = 0; index < count; index++) {
    if (index + 1 < count) at(index + 1, request);
    cuda::commitCopies();
    cuda::waitForCopies<1>();
    __syncthreads();
    at(index, meet);
    __syncthreads();
  }
}

}  // namespace md::masked_attention
