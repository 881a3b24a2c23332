// What the lanes of a warp tell each other.
#pragma once
#include "launch.h"

namespace md::cuda {

/// The lanes below this one. Blocks are one-dimensional.
__device__ inline unsigned lowerLanes() { return (1u << threadIdx.x % kWarp) - 1; }

__device__ inline int bitsOf(unsigned mask) {
#ifdef __CUDA_ARCH__
  return __popc(mask);
#else
  return __builtin_popcount(mask);
#endif
}

/// The sum of this lane's and all lower lanes' values.
template <class T>
__device__ T warpInclusive(T value) {
  const int lane = threadIdx.x % kWarp;
  for (int by = 1; by < kWarp; by *= 2) {
    const T lower = __shfl_up_sync(~0u, value, static_cast<unsigned>(by));
    if (lane >= by) value += lower;
  }
  return value;
}

}  // namespace md::cuda
