// Matrix fragments and asynchronous copies: that each lane gets what the PTX ISA says, and planted faults.
#include <cstring>
#include <vector>

#include "../../core/cuda/async_copy.h"
#include "../../core/cuda/fragments.h"
#include "../../tests/check.h"
#include "../threads.h"

namespace md::cuda {
namespace {

using emulation::forgetFault;
using emulation::lastFault;

constexpr int kPitch = kFragment + 8;
constexpr int kSchedules = 4;  // one after the other, launch by launch

enum class Plant { nothing, notWaitedFor, touchedEarly, missingBarrier, misalignedRow, globalRow, someLanes, misalignedCopy, outOfBounds };

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

/// registers [32, 8]: what each lane gets of `from` [16, 16] as an A fragment, then as a B one.
template <bool Transposed>
__global__ void loadBoth(const Half* from, uint32_t* registers) {
  MD_SHARED(Half, tile, [kFragment * kPitch]);
  for (int i = static_cast<int>(threadIdx.x); i < kFragment * kFragment; i += kWarp) tile[i / kFragment * kPitch + i % kFragment] = from[i];
  __syncwarp();
  FragmentA<Half> a;
  FragmentB<Half> b;
  load<Transposed>(a, tile, kPitch);
  load<Transposed>(b, tile, kPitch);
  for (int i = 0; i < 4; i++) {
    registers[8 * threadIdx.x + static_cast<unsigned>(i)] = a.x[i];
    registers[8 * threadIdx.x + 4 + static_cast<unsigned>(i)] = b.x[i];
  }
}

/// c = a b for [16, 16] each, by one of two warps; the other copies the operands.
template <class S, Plant plant>
__global__ void multiply(const S* a, const S* b, float* c) {
  MD_SHARED(S, tiles, [2][kFragment * kPitch]);
  const int tid = static_cast<int>(threadIdx.x), lane = tid % kWarp;
  if (tid >= kWarp) {
    for (int half = 0; half < 2; half++) {
      const int row = lane / 2, at = lane % 2 * 8;
      const S* from = (half == 0 ? a : b) + row * kFragment + at;
      if (plant == Plant::misalignedCopy) from += 1;
      if (plant == Plant::outOfBounds && half == 1) from += 8;
      copyAsync(&tiles[half][row * kPitch + at], from, kCopyBytes);
      commitCopies();
    }
    if (plant == Plant::touchedEarly) tiles[0][lane / 2 * kPitch + lane % 2 * 8] = S(0);
    if (plant == Plant::notWaitedFor) {
      waitForCopies<1>();
    } else {
      waitForCopies<0>();
    }
  }
  if (plant != Plant::missingBarrier) __syncthreads();
  if (tid >= kWarp) return;
  FragmentA<S> left;
  FragmentB<S> right;
  const S* first = plant == Plant::globalRow ? a : tiles[0];
  load<false>(left, plant == Plant::misalignedRow ? first + 1 : first, kPitch);
  load<true>(right, tiles[1], kPitch);
  Accumulator sums{};
  if (plant != Plant::someLanes || lane < 7) multiplyAdd(sums, left, right);
  for (int half = 0; half < 2; half++) {
    for (int i = 0; i < 4; i++) c[Accumulator::row(i) * kFragment + Accumulator::column(half, i)] = sums.x[half][i];
  }
}

void* upload(const void* host, size_t bytes) {
  void* device = nullptr;
  CHECK(cudaMalloc(&device, bytes) == cudaSuccess && cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, nullptr) == cudaSuccess);
  return device;
}

template <class S>
std::vector<S> numbers(int step) {
  std::vector<S> values;
  for (int i = 0; i < kFragment * kFragment; i++) values.push_back(S((i * step % 23 - 11) * 0.25f));
  return values;
}

/// What the emulation says of one launch; with no fault, the product is right too.
template <class S, Plant plant>
std::string faultOf() {
  const std::vector<S> a = numbers<S>(7), b = numbers<S>(5);
  std::vector<float> c(kFragment * kFragment);
  void *left = upload(a.data(), a.size() * sizeof(S)), *right = upload(b.data(), b.size() * sizeof(S)), *out = upload(c.data(), c.size() * sizeof(float));
  emulation::launch(0, "planted", multiply<S, plant>, 1, 2 * kWarp, static_cast<const S*>(left), static_cast<const S*>(right), static_cast<float*>(out));
  const std::string found = lastFault();
  if (found.empty()) {
    CHECK(cudaMemcpyAsync(c.data(), out, c.size() * sizeof(float), cudaMemcpyDeviceToHost, nullptr) == cudaSuccess);
    for (size_t i = 0; i < kFragment; i++) {
      for (size_t j = 0; j < kFragment; j++) {
        float sum = 0;
        for (size_t k = 0; k < kFragment; k++) sum += static_cast<float>(a[i * kFragment + k]) * static_cast<float>(b[k * kFragment + j]);
        CHECK(c[i * kFragment + j] == sum);
      }
    }
  }
  forgetFault();
  for (void* p : {left, right, out}) CHECK(cudaFree(p) == cudaSuccess);
  return found;
}

// Element i of a lane's registers: the formulas of the PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type".
int rowOfA(int lane, int i) { return i < 2 || (i >= 4 && i < 6) ? lane / 4 : lane / 4 + 8; }
int depthOfA(int lane, int i) { return i < 4 ? lane % 4 * 2 + (i & 1) : lane % 4 * 2 + (i & 1) + 8; }
int depthOfB(int lane, int i) { return i < 2 ? lane % 4 * 2 + (i & 1) : lane % 4 * 2 + (i & 1) + 8; }
int columnOfB(int lane) { return lane / 4; }

template <bool Transposed>
void checkLayout() {
  std::vector<uint16_t> tile(kFragment * kFragment), registers(kWarp * 16);
  for (size_t i = 0; i < tile.size(); i++) tile[i] = static_cast<uint16_t>(i);
  void *from = upload(tile.data(), tile.size() * 2), *out = upload(registers.data(), registers.size() * 2);
  emulation::launch(0, "layout", loadBoth<Transposed>, 1, kWarp, static_cast<const Half*>(from), static_cast<uint32_t*>(out));
  CHECK(lastFault() == "");
  CHECK(cudaMemcpyAsync(registers.data(), out, registers.size() * 2, cudaMemcpyDeviceToHost, nullptr) == cudaSuccess);
  for (int lane = 0; lane < kWarp; lane++) {
    const auto expect = [&](int index, int line, int depth) {
      const int row = Transposed ? depth : line, column = Transposed ? line : depth;
      CHECK(registers[static_cast<size_t>(16 * lane + index)] == row * kFragment + column);
    };
    for (int i = 0; i < 8; i++) expect(i, rowOfA(lane, i), depthOfA(lane, i));
    // Two fragments of 8 columns side by side.
    for (int i = 0; i < 8; i++) expect(8 + i, i / 4 * 8 + columnOfB(lane), depthOfB(lane, i % 4));
  }
  for (void* p : {from, out}) CHECK(cudaFree(p) == cudaSuccess);
}

TEST(fragmentsLieInLanesAsThePtxIsaSays) {
  checkLayout<false>();
  checkLayout<true>();
}
TEST(aProductOfFragmentsIsRight) {
  for (int i = 0; i < kSchedules; i++) {
    CHECK((faultOf<Half, Plant::nothing>()) == "");
    CHECK((faultOf<BFloat16, Plant::nothing>()) == "");
  }
}
TEST(aMissingWaitIsFound) {
  for (int i = 0; i < kSchedules; i++) CHECK(contains(faultOf<Half, Plant::notWaitedFor>(), "bytes that an asynchronous copy has yet to fill"));
}
TEST(touchingTheDestinationOfACopyIsFound) {
  for (int i = 0; i < kSchedules; i++) CHECK(contains(faultOf<Half, Plant::touchedEarly>(), "writes 2 bytes that an asynchronous copy has yet to fill"));
}
TEST(aMissingBarrierAfterAWaitIsFound) {
  for (int i = 0; i < kSchedules; i++) {
    const std::string found = faultOf<Half, Plant::missingBarrier>();  // which warp comes first differs
    CHECK(contains(found, "race: ") || contains(found, "that nothing has written") || contains(found, "has yet to fill"));
  }
}
TEST(rowsThatTheInstructionCannotLoadAreFound) {
  CHECK(contains(faultOf<Half, Plant::misalignedRow>(), "gives ldmatrix a row that does not begin at a multiple of 16 bytes"));
  CHECK(contains(faultOf<Half, Plant::globalRow>(), "gives ldmatrix a row that is not in shared memory"));
}
TEST(aProductThatOnlySomeLanesReachIsFound) {
  for (int i = 0; i < kSchedules; i++) CHECK(contains(faultOf<Half, Plant::someLanes>(), "not all lanes of its mask reach it"));
}
TEST(copiesThatTheInstructionCannotMakeAreFound) {
  CHECK(contains(faultOf<Half, Plant::misalignedCopy>(), "between addresses that are not multiples of 16"));
  CHECK(contains(faultOf<Half, Plant::outOfBounds>(), "reads 16 bytes 0 bytes past the end of an allocation of 512 bytes"));
}

}  // namespace
}  // namespace md::cuda
