// What every .cu file includes. nvcc compiles it against the CUDA runtime, the emulation against native/emulation; the
// kernels do not know which.
//
// A kernel is a __global__ function template of plain values and pointers. Shared arrays are declared by MD_SHARED, so
// that the emulation knows where they end; they begin at a multiple of 16 bytes.
#pragma once
#include "../context.h"
#include "../host_device.h"
#include "backend.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>
#define MD_SHARED(type, name, extents) __shared__ __align__(16) type name extents
#else
#include "../../emulation/emulation.h"
#define MD_SHARED(type, name, extents) \
  using name##Array = type extents;    \
  auto& name = *::md::emulation::sharedArray<name##Array, [] {}>()
#endif

namespace md::cuda {

constexpr int kWarp = 32;
constexpr int kThreads = 256;  // of a block, where nothing speaks for another number

/// The queue of the context's device as the CUDA runtime knows it.
cudaStream_t streamOf(const Context& context);
/// Before a launch: makes the device current; DeviceError if a fault has ended it.
void useDevice(const Context& context, const char* op);
/// Throws what a launch just before this reported; with MD_SYNC=1 also what the kernel did.
void checkLaunch(const Context& context, const char* op);

/// How far draws by `key` have moved on since the graph that is being captured was: a number of Philox blocks on the
/// device, set before each replay. Null where nothing is captured; UnsupportedError for a key that the graph was not given.
const uint64_t* movedOf(const Context& context, uint64_t key, const char* op);

/// What cuBLAS keeps for the context's queue; null at first.
void*& cublasHandleOf(const Context& context);

/// What a kernel may find wrong with the elements it reads.
enum class Wrong : int { index, notAnInteger, row, offsets, order, emptySegment, pairStarts, pair, notFinite };

/// Where kernels note the first element that they cannot take, without the host waiting for them: whoever waits for the
/// device next throws it as a ValueError, under the op's name.
struct Complaint {
  const char* op;  // of the host; null for none
  Wrong wrong;
  int64_t element, value, limit;  // index: value is not in [0, limit)
  const char* expected;           // row, notFinite: of the host
};
Complaint* complaintOf(const Context& context);

/// Notes a complaint unless there is one.
__device__ inline void complain(Complaint* complaint, const char* op, Wrong wrong, int64_t element, int64_t value = 0, int64_t limit = 0,
                                const char* expected = nullptr) {
  auto* flag = reinterpret_cast<unsigned long long*>(&complaint->op);
  if (atomicCAS(flag, 0ull, reinterpret_cast<unsigned long long>(op)) != 0ull) return;
  complaint->wrong = wrong;
  complaint->element = element;
  complaint->value = value;
  complaint->limit = limit;
  complaint->expected = expected;
}

/// Starts `kernel` on `blocks` blocks of `threads` threads, a multiple of 32.
template <class... P, class... A>
void launch(const Context& context, const char* op, void (*kernel)(P...), dim3 blocks, dim3 threads, A&&... arguments) {
  useDevice(context, op);
#ifdef __CUDACC__
  kernel<<<blocks, threads, 0, streamOf(context)>>>(static_cast<P>(arguments)...);
#else
  emulation::launch(context.stream.device.index, op, kernel, blocks, threads, static_cast<P>(arguments)...);
#endif
  checkLaunch(context, op);
}

/// Blocks for a kernel that strides over n elements; at most what fills any device several times over.
inline unsigned blocksFor(int64_t n, int64_t threads = kThreads) {
  const int64_t blocks = (n + threads - 1) / threads;
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks > 65536 ? 65536 : blocks);
}

/// f(i) for every i of [0, n), shared among all threads of the grid.
template <class F>
__device__ void gridStride(int64_t n, F f) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) f(i);
}

}  // namespace md::cuda
