// Planted faults: what the emulation must find, and that it finds nothing in the same kernels without them.
#include <cstring>
#include <vector>

#include "../../core/cuda/reduce.h"
#include "../../tests/check.h"
#include "../threads.h"

namespace md::emulation {
namespace {

using cuda::kThreads;
using cuda::kWarp;

enum class Plant { nothing, outOfBounds, missingBarrier, divergentBarrier, race, unwritten, sharedBounds, lanes };

constexpr int64_t kCount = 300;
constexpr unsigned kBlocks = 3;

/// out[i] = x[i] + the sum of its block's own 100 elements of x; total[0] = the number of blocks.
template <Plant plant>
__global__ void blockSums(const int* x, int* out, int* total) {
  MD_SHARED(int, parts, [kThreads]);
  const int64_t own = kCount / kBlocks, first = static_cast<int64_t>(blockIdx.x) * own;
  const int i = static_cast<int>(threadIdx.x);
  int* slots = parts;  // through a pointer the undefined-behaviour sanitizer does not know the extent
  slots[plant == Plant::sharedBounds && i == kThreads - 1 ? kThreads : i] = i < own ? x[first + i] : 0;
  if (plant != Plant::missingBarrier) __syncthreads();
  for (int half = kThreads / 2; half >= kWarp; half /= 2) {
    if (i < half) parts[i] += parts[i + half];
    __syncthreads();
  }
  int sum = 0;
  for (int k = 0; k < kWarp; k++) sum += parts[k];
  if (plant == Plant::divergentBarrier && i < 40) __syncthreads();
  if (plant == Plant::lanes && i % kWarp < 7) sum += __shfl_xor_sync(~0u, sum, 1);
  if (plant == Plant::unwritten) sum += total[1];
  const int64_t end = plant == Plant::outOfBounds && blockIdx.x == kBlocks - 1 ? own + 1 : own;
  if (i < end) out[first + i] = (i < own ? x[first + i] : 0) + sum;
  if (i != 0) return;
  if (plant == Plant::race) {
    total[0] += 1;
  } else {
    atomicAdd(total, 1);
  }
}

/// What the emulation says of one launch; with no fault, the results are right too.
template <Plant plant>
std::string faultOf() {
  void *x = nullptr, *out = nullptr, *total = nullptr;
  CHECK(cudaMalloc(&x, kCount * 4) == cudaSuccess && cudaMalloc(&out, kCount * 4) == cudaSuccess && cudaMalloc(&total, 8) == cudaSuccess);
  std::vector<int> host(kCount);
  for (int i = 0; i < kCount; i++) host[static_cast<size_t>(i)] = i;
  CHECK(cudaMemcpyAsync(x, host.data(), kCount * 4, cudaMemcpyHostToDevice, nullptr) == cudaSuccess);
  CHECK(cudaMemsetAsync(total, 0, 4, nullptr) == cudaSuccess);
  launch(0, "planted", blockSums<plant>, kBlocks, kThreads, static_cast<const int*>(x), static_cast<int*>(out), static_cast<int*>(total));
  const std::string found = lastFault();
  if (found.empty()) {
    int blocks = 0;
    CHECK(cudaMemcpyAsync(host.data(), out, kCount * 4, cudaMemcpyDeviceToHost, nullptr) == cudaSuccess);
    CHECK(cudaMemcpyAsync(&blocks, total, 4, cudaMemcpyDeviceToHost, nullptr) == cudaSuccess);
    CHECK(blocks == static_cast<int>(kBlocks));
    for (int i = 0; i < kCount; i++) {
      const int block = i / 100;
      CHECK(host[static_cast<size_t>(i)] == i + 100 * block * 100 + 4950);
    }
  }
  forgetFault();
  for (void* p : {x, out, total}) CHECK(cudaFree(p) == cudaSuccess);
  return found;
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

constexpr int kSchedules = 4;  // one after the other, launch by launch

TEST(aKernelWithoutFaultsPasses) {
  for (int i = 0; i < kSchedules; i++) CHECK(faultOf<Plant::nothing>() == "");
}
TEST(anOutOfBoundsWriteIsFound) {
  for (int i = 0; i < kSchedules; i++) {
    const std::string found = faultOf<Plant::outOfBounds>();
    CHECK(contains(found, "block (2,0,0) thread (100,0,0) writes 4 bytes 0 bytes past the end of an allocation of 1200 bytes"));
  }
}
TEST(aMissingBarrierIsFound) {
  for (int i = 0; i < kSchedules; i++) {
    const std::string found = faultOf<Plant::missingBarrier>();  // which of the two threads comes first differs
    CHECK(contains(found, "race: ") || contains(found, "that nothing has written"));
  }
}
TEST(aBarrierThatOnlySomeThreadsReachIsFound) {
  for (int i = 0; i < kSchedules; i++) {
    const std::string found = faultOf<Plant::divergentBarrier>();
    CHECK(contains(found, "__syncthreads at tests/faults_test.cu:") && contains(found, ": 40 of 256 threads reach it"));
  }
}
TEST(aRaceBetweenBlocksIsFound) {
  for (int i = 0; i < kSchedules; i++) CHECK(contains(faultOf<Plant::race>(), "of another block"));
}
TEST(memoryThatNothingHasWrittenIsFound) { CHECK(contains(faultOf<Plant::unwritten>(), "that nothing has written")); }
TEST(theEndOfASharedArrayIsFound) { CHECK(contains(faultOf<Plant::sharedBounds>(), "outside of every shared array")); }
TEST(aMaskThatNotAllLanesReachIsFound) { CHECK(contains(faultOf<Plant::lanes>(), "not all lanes of its mask reach it")); }

__global__ void readOne(const int* from, int* out) { out[0] = from[0]; }

TEST(memoryOfTheHostAndOfAnotherDeviceIsFound) {
  void *out = nullptr, *elsewhere = nullptr;
  CHECK(cudaMalloc(&out, 4) == cudaSuccess && cudaSetDevice(1) == cudaSuccess);
  CHECK(cudaMalloc(&elsewhere, 4) == cudaSuccess && cudaSetDevice(0) == cudaSuccess);
  CHECK(cudaMemsetAsync(elsewhere, 0, 4, nullptr) == cudaSuccess);
  const std::vector<int> host(1);
  launch(0, "planted", readOne, 1, kWarp, host.data(), static_cast<int*>(out));
  CHECK(contains(lastFault(), "memory of the host?"));
  forgetFault();
  launch(0, "planted", readOne, 1, kWarp, static_cast<const int*>(elsewhere), static_cast<int*>(out));
  CHECK(contains(lastFault(), "of another device's memory"));
  forgetFault();
  CHECK(cudaFree(out) == cudaSuccess && cudaFree(elsewhere) == cudaSuccess);
}

}  // namespace
}  // namespace md::emulation
