// CUDA on the CPU, for tests: enough of its language and runtime to compile the .cu files as ordinary C++ and run them
// under checks. Every GPU thread is a fiber; barriers and warp exchanges switch fibers (threads.cpp). Every access that a
// kernel makes is checked for bounds, for memory never written, and for races (memory.cpp). Blocks run one after another,
// in orders and schedules that change from launch to launch.
#pragma once
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <tuple>
#include <utility>

#include "runtime.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned first = 1, unsigned second = 1, unsigned third = 1) : x(first), y(second), z(third) {}
};

// Set whenever a fiber is switched to.
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace md::emulation {

using std::source_location;

/// Memory of the running block for one array; all threads of the block get the same. `key` tells arrays apart.
void* sharedMemory(const void* key, size_t bytes);
template <class Array, auto Tag>
Array* sharedArray() {
  static const char key = 0;
  return static_cast<Array*>(sharedMemory(&key, sizeof(Array)));
}

enum class Barrier { block, warp };
/// Waits until the block, or the warp's lanes of `mask`, have come to the same place.
void wait(Barrier barrier, unsigned mask, const char* what, const source_location& where);
/// What lane `source` of the calling warp passed. Both must be in `mask`.
uint64_t exchange(unsigned mask, uint64_t value, unsigned source, const char* what, const source_location& where);
/// Bit i: whether lane i of `mask` passed true.
unsigned vote(unsigned mask, bool value, const char* what, const source_location& where);
/// What each lane of the warp passed, all of which take part; until the next exchange of the caller.
using Words = std::array<uint64_t, 4>;
using WarpWords = std::array<Words, 32>;
const WarpWords& gather(const Words& own, const char* what, const source_location& where);
unsigned lane();
/// Announces an access that other threads may make at the same time.
void atomicAccess(const void* address, size_t bytes);

/// Runs body(arguments) as each thread of the grid. `arguments` are copied for every thread.
void run(int device, const char* op, dim3 grid, dim3 block, void (*body)(const void*), const void* arguments, size_t bytes);

template <class... P>
struct Call {
  void (*kernel)(P...);
  std::tuple<P...> arguments;
};

template <class... P>
void launch(int device, const char* op, void (*kernel)(P...), dim3 grid, dim3 block, P... arguments) {
  static_assert((std::is_trivially_copyable_v<P> && ...), "kernels take plain values and pointers");
  const Call<P...> call{kernel, {arguments...}};
  run(device, op, grid, block,
      [](const void* stored) {
        const auto& own = *static_cast<const Call<P...>*>(stored);
        std::apply(own.kernel, own.arguments);
      },
      &call, sizeof(call));
}

template <class T>
T exchanged(unsigned mask, T value, unsigned source, const char* what, const source_location& where) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = exchange(mask, bits, source, what, where);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace md::emulation

#define MD_HERE std::source_location where = std::source_location::current()

inline void __syncthreads(MD_HERE) {
  md::emulation::wait(md::emulation::Barrier::block, 0, "__syncthreads", where);
}
inline void __syncwarp(unsigned mask = ~0u, MD_HERE) {
  md::emulation::wait(md::emulation::Barrier::warp, mask, "__syncwarp", where);
}
inline void __threadfence() {}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, MD_HERE) {
  return md::emulation::exchanged(mask, value, static_cast<unsigned>(source) % 32, "__shfl_sync", where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, MD_HERE) {
  return md::emulation::exchanged(mask, value, md::emulation::lane() ^ static_cast<unsigned>(bits), "__shfl_xor_sync", where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, MD_HERE) {
  const unsigned lane = md::emulation::lane();
  return md::emulation::exchanged(mask, value, lane + by < 32 ? lane + by : lane, "__shfl_down_sync", where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, MD_HERE) {
  const unsigned lane = md::emulation::lane();
  return md::emulation::exchanged(mask, value, lane >= by ? lane - by : lane, "__shfl_up_sync", where);
}
inline unsigned __ballot_sync(unsigned mask, bool value, MD_HERE) { return md::emulation::vote(mask, value, "__ballot_sync", where); }
inline bool __any_sync(unsigned mask, bool value, MD_HERE) { return md::emulation::vote(mask, value, "__any_sync", where) != 0; }
inline bool __all_sync(unsigned mask, bool value, MD_HERE) { return md::emulation::vote(mask, value, "__all_sync", where) == mask; }

#undef MD_HERE

// Threads take turns, so that plain reads and writes are atomic; the announcement tells the race check. Reading and
// writing inside these functions must not be reported once more.
#define MD_ATOMIC template <class T> __attribute__((no_sanitize("thread"), noinline))

MD_ATOMIC T atomicAdd(T* address, T value) {
  md::emulation::atomicAccess(address, sizeof(T));
  const T old = *address;
  *address = static_cast<T>(old + value);
  return old;
}
MD_ATOMIC T atomicMax(T* address, T value) {
  md::emulation::atomicAccess(address, sizeof(T));
  const T old = *address;
  if (old < value) *address = value;
  return old;
}
MD_ATOMIC T atomicMin(T* address, T value) {
  md::emulation::atomicAccess(address, sizeof(T));
  const T old = *address;
  if (value < old) *address = value;
  return old;
}
MD_ATOMIC T atomicExch(T* address, T value) {
  md::emulation::atomicAccess(address, sizeof(T));
  const T old = *address;
  *address = value;
  return old;
}
MD_ATOMIC T atomicCAS(T* address, T expected, T value) {
  md::emulation::atomicAccess(address, sizeof(T));
  const T old = *address;
  if (old == expected) *address = value;
  return old;
}

#undef MD_ATOMIC
