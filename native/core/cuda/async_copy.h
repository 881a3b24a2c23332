// Copies from global into shared memory that run on while their thread computes (cp.async: compute capability 8.0 and
// later). What a thread has copied it may read after waiting for it, other threads after a barrier besides.
#pragma once
#include "launch.h"

#ifndef __CUDACC__
#include "../../emulation/async_copy.h"
#endif

namespace md::cuda {

constexpr int kCopyBytes = 16;  // at most, of one copy

/// Starts a copy of the first `bytes` of Size, 4, 8 or 16; the others become 0. Both addresses are multiples of Size; the
/// global one is not read where `bytes` is 0.
template <int Size = kCopyBytes>
__device__ inline void copyAsync(void* shared, const void* global, int bytes) {
  static_assert(Size == 4 || Size == 8 || Size == 16);
#ifdef __CUDACC__
#if __CUDA_ARCH__ >= 800
  const auto at = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  if constexpr (Size == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(__cvta_generic_to_global(global)), "r"(bytes) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(at), "l"(__cvta_generic_to_global(global)), "n"(Size), "r"(bytes) : "memory");
  }
#else
  __trap();
#endif
#else
  emulation::copyAsync(shared, global, static_cast<size_t>(bytes), Size);
#endif
}

/// Makes a group of the copies that the thread has started since the last one; it may be empty.
__device__ inline void commitCopies() {
#ifdef __CUDACC__
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  __trap();
#endif
#else
  emulation::commitCopies();
#endif
}

/// Waits until at most the last `Pending` groups of the thread are still under way.
template <int Pending>
__device__ void waitForCopies() {
#ifdef __CUDACC__
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#else
  __trap();
#endif
#else
  emulation::waitForCopies(Pending);
#endif
}

}  // namespace md::cuda
