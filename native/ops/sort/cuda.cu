#include "cuda.h"

#include <bit>
#include <utility>

#include "../../core/cuda/cub.h"
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

template <class Code>
__device__ int digitAt(Code code, int shift) { return static_cast<int>(code >> shift & (kDigits - 1)); }

template <class Code>
__global__ void rankRows(int64_t rows, int64_t n, const Code* __restrict__ codes, const int32_t* __restrict__ order, Code* __restrict__ codesOut,
                         int32_t* __restrict__ orderOut) {
  gridStride(rows * n, [&](int64_t i) {
    const int64_t row = i / n * n;
    const Code code = codes[i];
    int64_t place = row;
    for (int64_t j = row; j < row + n; j++) place += codes[j] < code || (codes[j] == code && j < i);
    codesOut[place] = code;
    orderOut[place] = order[i];
  });
}

/// counts [rows, digits, tiles]: a block counts the digits of a tile.
template <class Code>
__global__ void countDigits(int64_t n, int64_t tiles, int shift, const Code* __restrict__ codes, int32_t* __restrict__ counts) {
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
template <class Code>
__global__ void moveDigits(int64_t n, int64_t tiles, int shift, const int32_t* __restrict__ starts, const Code* __restrict__ codes,
                           const int32_t* __restrict__ order, Code* __restrict__ codesOut, int32_t* __restrict__ orderOut) {
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
    const Code code = codes[row * n + at];
    const int32_t to = next[warp][digitAt(code, shift)] + rank[i];
    codesOut[to] = code;
    orderOut[to] = order[row * n + at];
  }
}

/// Where `together`, the row stands above the element's bits: all rows are then sorted as one.
template <class T, class Code>
__global__ void encodeRows(AxisSplit split, bool descending, bool together, const T* __restrict__ x, Code* __restrict__ codes, int32_t* __restrict__ order) {
  gridStride(split.outer * split.inner * split.extent, [&](int64_t i) {
    const int64_t row = i / split.extent, at = i % split.extent;
    const uint64_t code = codeOf(x[(row / split.inner * split.extent + at) * split.inner + row % split.inner], descending);
    codes[i] = static_cast<Code>(together ? code | static_cast<uint64_t>(row) << (8 * sizeof(T)) % 64 : code);
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

template <class Code>
void radixSortRows(Context& context, int64_t rows, int64_t n, Tensor& codes, Tensor& order, int bits, const char* op) {
  Tensor codesOut = empty(context, codes.dtype, codes.shape, op), orderOut = empty(context, DType::i32, order.shape, op);
  const auto codesOf = [](const Tensor& x) { return static_cast<Code*>(x.raw()); };
  const auto exchange = [&] {
    std::swap(codes, codesOut);
    std::swap(order, orderOut);
  };
  if (n <= kShortRow) {
    launch(context, op, rankRows<Code>, blocksFor(rows * n), kThreads, rows, n, codesOf(codes), order.data<int32_t>(), codesOf(codesOut),
           orderOut.data<int32_t>());
    return exchange();
  }
  const int64_t tiles = (n + kTile - 1) / kTile;
  // Places are counted in 32 bits.
  if (rows * n > INT32_MAX || rows * tiles > INT32_MAX / kDigits) fail(ErrorKind::shape, op, rows, " rows of ", n, " to sort, expected fewer than 2^31 elements");
  if (rows == 1 && hasCub()) return cubSortPairs(context, codes, order, bits, op);
  const Tensor counts = empty(context, DType::i32, {rows * kDigits * tiles + 1}, op);
  const auto blocks = static_cast<unsigned>(rows * tiles);
  for (int shift = 0; shift < bits; shift += kDigitBits) {
    launch(context, op, countDigits<Code>, blocks, kThreads, n, tiles, shift, codesOf(codes), counts.data<int32_t>());
    startsOf(context, counts, op);
    launch(context, op, moveDigits<Code>, blocks, kThreads, n, tiles, shift, counts.data<int32_t>(), codesOf(codes), order.data<int32_t>(), codesOf(codesOut),
           orderOut.data<int32_t>());
    exchange();
  }
}

template <class T, class Code>
void orderOf(Context& context, const AxisSplit& split, int64_t k, bool descending, bool together, int bits, const Tensor& x, const Sorted& out, const char* op) {
  const int64_t rows = split.outer * split.inner, n = split.extent;
  Tensor codes = empty(context, sizeof(Code) == 4 ? DType::i32 : DType::i64, {rows, n}, op), order = empty(context, DType::i32, {rows, n}, op);
  launch(context, op, encodeRows<T, Code>, blocksFor(rows * n), kThreads, split, descending, together, x.data<T>(), static_cast<Code*>(codes.raw()),
         order.data<int32_t>());
  radixSortRows<Code>(context, together ? 1 : rows, together ? rows * n : n, codes, order, bits, op);
  launch(context, op, emitRows<T>, blocksFor(rows * k), kThreads, split, k, x.data<T>(), order.data<int32_t>(), out.values.data<T>(),
         out.indices.data<int64_t>());
}

}  // namespace

void radixSortCuda(Context& context, Tensor& codes, Tensor& order, int bits, const char* op) {
  if (codes.numel() >= 2 && bits > 0) radixSortRows<uint64_t>(context, 1, codes.numel(), codes, order, bits, op);
}

void orderCuda(Context& context, const AxisSplit& split, int64_t k, bool descending, const Tensor& x, const Sorted& out, const char* op) {
  const int64_t rows = split.outer * split.inner;
  dispatchAny(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const int own = static_cast<int>(8 * sizeof(T)), withRow = own + std::bit_width(static_cast<uint64_t>(rows - 1));
    const bool together = rows > 1 && split.extent > kShortRow && withRow <= 64;
    const int bits = together ? withRow : own;
    if constexpr (sizeof(T) <= sizeof(uint32_t)) {
      if (bits <= 32) return orderOf<T, uint32_t>(context, split, k, descending, together, bits, x, out, op);
    }
    orderOf<T, uint64_t>(context, split, k, descending, together, bits, x, out, op);
  });
}

}  // namespace md::sort
