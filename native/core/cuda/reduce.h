// Reductions inside a warp and a block, in an order that depends on nothing but the number of threads.
#pragma once
#include "launch.h"

namespace md::cuda {

struct Add {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
/// NaN wins.
struct Larger {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};
struct Smaller {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a < b || a != a ? a : b;
  }
};

/// The combination over the 32 lanes of the warp, in every lane.
template <class T, class Combine>
__device__ T warpReduce(T value, Combine combine) {
  for (int bits = kWarp / 2; bits > 0; bits /= 2) value = combine(value, static_cast<T>(__shfl_xor_sync(~0u, value, bits)));
  return value;
}

/// The combination over all threads of a block of kThreads, in every thread. `parts` is shared memory of one value a warp.
template <class T, class Combine>
__device__ T blockReduce(T value, T* parts, Combine combine) {
  value = warpReduce(value, combine);
  __syncthreads();  // parts may still be read from the reduction before
  if (threadIdx.x % kWarp == 0) parts[threadIdx.x / kWarp] = value;
  __syncthreads();
  value = parts[0];
  for (int warp = 1; warp < kThreads / kWarp; warp++) value = combine(value, parts[warp]);
  return value;
}

}  // namespace md::cuda
