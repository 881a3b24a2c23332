#include "cuda.h"

#include <utility>

#include "../../core/cuda/scan.h"
#include "../../core/cuda/warp.h"
#include "shared.h"

namespace md::sort {
namespace {

using namespace md::cuda;

constexpr int64_t kShortRow = 128;  // up to here an element counts those before it
constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits;
constexpr int kWarps = kThreads / kWarp;
constexpr int kOwn = 8;  // elements of a thread
constexpr int64_t kTile = kThreads * kOwn, kWarpTile = kWarp * kOwn;
static_assert(kDigits == kThreads, "a thread owns a digit");

__device__ int digitAt(uint64_t code, int shift) { return static_cast<int>(code >> shift & (kDigits - 1)); }

__global__ void rankRows(int64_t rows, int64_t n, const uint64_t* __restrict__ codes, const int32_t* __restrict__ order, uint64_t* __restrict__ codesOut,
                         int32_t* __restrict__ orderOut) {
  gridStride(rows * n, [&](int64_t i) {
    const int64_t row = i / n * n;
    const uint64_t code = codes[i];
    int64_t place = row;
    for (int64_t j = row; j < row + n; j++) place += codes[j] < code || (codes[j] == code && j < i);
    codesOut[place] = code;
    orderOut[place] = order[i];
  });
}

/// counts [rows, digits, tiles]: a block counts the digits of a tile.
__global__ void countDigits(int64_t n, int64_t tiles, int shift, const uint64_t* __restrict__ codes, int32_t* __restrict__ counts) {
  MD_SHARED(int32_t, digits, [kDigits]);
  const int64_t row = blockIdx.x / tiles, tile = blockIdx.x % tiles;
  digits[threadIdx.x] = 0;
  __syncthreads();
  for (int i = 0; i < kOwn; i++) {
    const int64_t at = tile * kTile + i * kThreads + threadIdx.x;
    if (at < n) atomicAdd(&digits[digitAt(codes[row * n + at], shift)], 1);
  }
  __syncthreads();
  counts[(row * kDigits + threadIdx.x) * tiles + tile] = digits[threadIdx.x];
}

/// A warp takes a run of kWarpTile elements, 32 at a time in order: an element stands behind those of its digit in earlier
/// tiles (starts), in earlier warps of the tile, in earlier rounds of the warp and in lower lanes.
__global__ void moveDigits(int64_t n, int64_t tiles, int shift, const int32_t* __restrict__ starts, const uint64_t* __restrict__ codes,
                           const int32_t* __restrict__ order, uint64_t* __restrict__ codesOut, int32_t* __restrict__ orderOut) {
  MD_SHARED(int32_t, next, [kWarps][kDigits]);
  const int64_t row = blockIdx.x / tiles, tile = blockIdx.x % tiles;
  const unsigned warp = threadIdx.x / kWarp;
  for (int w = 0; w < kWarps; w++) next[w][threadIdx.x] = 0;
  __syncthreads();
  const int64_t begin = tile * kTile + warp * kWarpTile;
  int rank[kOwn];
  for (int i = 0; i < kOwn && begin + i * kWarp < n; i++) {
    const int64_t at = begin + i * kWarp + threadIdx.x % kWarp;
    const int digit = at < n ? digitAt(codes[row * n + at], shift) : 0;
    unsigned equal = __ballot_sync(~0u, at < n);
    for (int bit = 0; bit < kDigitBits; bit++) {
      const bool set = digit >> bit & 1;
      const unsigned lanes = __ballot_sync(~0u, set);
      equal &= set ? lanes : ~lanes;
    }
    rank[i] = bitsOf(equal & lowerLanes());
    if (at < n) rank[i] += next[warp][digit];
    __syncwarp();
    if (at < n && (equal & lowerLanes()) == 0) next[warp][digit] += bitsOf(equal);
    __syncwarp();
  }
  __syncthreads();
  int32_t place = starts[(row * kDigits + threadIdx.x) * tiles + tile];
  for (int w = 0; w < kWarps; w++) {
    const int32_t count = next[w][threadIdx.x];
    next[w][threadIdx.x] = place;
    place += count;
  }
  __syncthreads();
  for (int i = 0; i < kOwn; i++) {
    const int64_t at = begin + i * kWarp + threadIdx.x % kWarp;
    if (at >= n) break;
    const uint64_t code = codes[row * n + at];
    const int32_t to = next[warp][digitAt(code, shift)] + rank[i];
    codesOut[to] = code;
    orderOut[to] = order[row * n + at];
  }
}

template <class T>
__global__ void encodeRows(AxisSplit split, bool descending, const T* __restrict__ x, uint64_t* __restrict__ codes, int32_t* __restrict__ order) {
  gridStride(split.outer * split.inner * split.extent, [&](int64_t i) {
    const int64_t row = i / split.extent, at = i % split.extent;
    codes[i] = codeOf(x[(row / split.inner * split.extent + at) * split.inner + row % split.inner], descending);
    order[i] = static_cast<int32_t>(at);
  });
}

template <class T>
__global__ void emitRows(AxisSplit split, int64_t k, const T* __restrict__ x, const int32_t* __restrict__ order, T* __restrict__ values,
                         int64_t* __restrict__ indices) {
  gridStride(split.outer * k * split.inner, [&](int64_t i) {
    const int64_t inner = i % split.inner, place = i / split.inner % k, outer = i / split.inner / k;
    const int64_t from = order[(outer * split.inner + inner) * split.extent + place];
    values[i] = x[(outer * split.extent + from) * split.inner + inner];
    indices[i] = from;
  });
}

uint64_t* codesOf(const Tensor& codes) { return reinterpret_cast<uint64_t*>(codes.data<int64_t>()); }

}  // namespace

void radixSortCuda(Context& context, int64_t rows, int64_t n, Tensor& codes, Tensor& order, int bits, const char* op) {
  if (rows * n == 0 || n < 2) return;
  Tensor codesOut = empty(context, DType::i64, codes.shape, op), orderOut = empty(context, DType::i32, order.shape, op);
  const auto exchange = [&] {
    std::swap(codes, codesOut);
    std::swap(order, orderOut);
  };
  if (n <= kShortRow) {
    launch(context, op, rankRows, blocksFor(rows * n), kThreads, rows, n, codesOf(codes), order.data<int32_t>(), codesOf(codesOut), orderOut.data<int32_t>());
    return exchange();
  }
  const int64_t tiles = (n + kTile - 1) / kTile;
  // Places are counted in 32 bits.
  if (rows * n > INT32_MAX || rows * tiles > INT32_MAX / kDigits) fail(ErrorKind::shape, op, rows, " rows of ", n, " to sort, expected fewer than 2^31 elements");
  const Tensor counts = empty(context, DType::i32, {rows * kDigits * tiles + 1}, op);
  const auto blocks = static_cast<unsigned>(rows * tiles);
  for (int shift = 0; shift < bits; shift += kDigitBits) {
    launch(context, op, countDigits, blocks, kThreads, n, tiles, shift, codesOf(codes), counts.data<int32_t>());
    startsOf(context, counts, op);
    launch(context, op, moveDigits, blocks, kThreads, n, tiles, shift, counts.data<int32_t>(), codesOf(codes), order.data<int32_t>(), codesOf(codesOut),
           orderOut.data<int32_t>());
    exchange();
  }
}

void orderCuda(Context& context, const AxisSplit& split, int64_t k, bool descending, const Tensor& x, const Sorted& out, const char* op) {
  const int64_t rows = split.outer * split.inner, n = split.extent;
  Tensor codes = empty(context, DType::i64, {rows, n}, op), order = empty(context, DType::i32, {rows, n}, op);
  dispatchAny(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, encodeRows<T>, blocksFor(rows * n), kThreads, split, descending, x.data<T>(), codesOf(codes), order.data<int32_t>());
    radixSortCuda(context, rows, n, codes, order, static_cast<int>(8 * sizeof(T)), op);
    launch(context, op, emitRows<T>, blocksFor(rows * k), kThreads, split, k, x.data<T>(), order.data<int32_t>(), out.values.data<T>(),
           out.indices.data<int64_t>());
  });
}

}  // namespace md::sort
