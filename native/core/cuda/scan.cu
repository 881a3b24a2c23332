#include "scan.h"

#include "cub.h"
#include "warp.h"

namespace md::cuda {
namespace {

constexpr int kOwn = 8;  // elements of a thread
constexpr int64_t kTile = kThreads * kOwn;

/// Exclusive sums inside each tile, and the sum of the tile. The last element counts as 0.
template <class T>
__global__ void scanTiles(int64_t size, T* values, T* totals) {
  MD_SHARED(T, warps, [kThreads / kWarp]);
  const int64_t first = blockIdx.x * kTile + static_cast<int64_t>(threadIdx.x) * kOwn;
  T own[kOwn], sum = 0;
  for (int i = 0; i < kOwn; i++) {
    own[i] = first + i < size - 1 ? values[first + i] : T(0);
    sum += own[i];
  }
  const T upTo = warpInclusive(sum);
  if (threadIdx.x % kWarp == kWarp - 1) warps[threadIdx.x / kWarp] = upTo;
  __syncthreads();
  T before = upTo - sum;
  for (unsigned warp = 0; warp < threadIdx.x / kWarp; warp++) before += warps[warp];
  for (int i = 0; i < kOwn && first + i < size; i++) {
    values[first + i] = before;
    before += own[i];
  }
  if (threadIdx.x == kThreads - 1) totals[blockIdx.x] = before;
}

template <class T>
__global__ void addTotals(int64_t size, const T* __restrict__ totals, T* values) {
  gridStride(size, [&](int64_t i) { values[i] += totals[i / kTile]; });
}

template <class T>
void scan(Context& context, const Tensor& values, const char* op) {
  const int64_t size = values.numel(), tiles = (size + kTile - 1) / kTile;
  const Tensor totals = empty(context, values.dtype, {tiles + 1}, op);
  launch(context, op, scanTiles<T>, static_cast<unsigned>(tiles), kThreads, size, values.data<T>(), totals.data<T>());
  if (tiles == 1) return;
  scan<T>(context, totals, op);
  launch(context, op, addTotals<T>, blocksFor(size), kThreads, size, totals.data<T>(), values.data<T>());
}

}  // namespace

void startsOf(Context& context, const Tensor& counts, const char* op) {
  if (hasCub()) return cubStartsOf(context, counts, op);
  if (counts.dtype == DType::i64) return scan<int64_t>(context, counts, op);
  scan<int32_t>(context, counts, op);
}

}  // namespace md::cuda
