// Products of gathered rows on matrix units against the scalar kernels, which sum the same operands in f32.
#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "../../ops/gathered_gemm/cuda.h"
#include "../../tests/check.h"
#include "on_device.h"

namespace md {
namespace {

using namespace gathered_gemm;

constexpr int kSchedules = 4;  // of the emulation, one after the other

struct Case {
  int64_t inputs, outputs, kernels, depth, columns;
  int percent;     // of the neighbours are there
  bool repeated;   // an output row has several pairs of an offset
  bool transposed; // the weight's columns lie together, and offsets are mirrored
  int64_t guard;   // elements before and after each operand
};

/// Numbers with others around them, which no kernel may read or write.
template <class S>
struct Guarded {
  Tensor all, view;
  int64_t guard;

  Guarded(OnDevice& device, const Dims& shape, int64_t band, uint32_t seed) : guard(band) {
    const Tensor inner = numbers<S>(device, shape.numel(), seed);
    all = empty(device.context, inner.dtype, {shape.numel() + 2 * band}, "test");
    std::vector<S> values(static_cast<size_t>(all.numel()), S(std::numeric_limits<float>::quiet_NaN()));
    copyToHost(device.context, inner, values.data() + band, "test");
    copyFromHost(device.context, values.data(), all, "test");
    view = all;
    view.shape = shape;
    view.stride = contiguousStrides(shape);
    view.offset = band;
  }
  /// Without the bands, which are still what they were.
  std::vector<float> read(OnDevice& device) const {
    std::vector<float> values = wide<S>(device, all);
    for (int64_t i = 0; i < guard; i++) CHECK(std::isnan(values[static_cast<size_t>(i)]) && std::isnan(values[values.size() - 1 - static_cast<size_t>(i)]));
    return {values.begin() + guard, values.end() - guard};
  }
};

Pairs pairsOf(const PairMap& map, int64_t kernels, int64_t inputs, int64_t outputs) {
  return {map.inputs.data<int32_t>(), map.outputs.data<int32_t>(), map.starts.data<int32_t>(), kernels, inputs, outputs, kBlockRows};
}

PairMap mapOf(OnDevice& device, const Case& c) {
  uint32_t seed = 7;
  const auto draw = [&](int64_t below) {
    seed = seed * 1664525u + 1013904223u;
    return static_cast<int32_t>((seed >> 8) % static_cast<uint32_t>(below));
  };
  // Repeated: of the map from outputs to inputs, which is then turned round.
  const int64_t rows = c.repeated ? c.inputs : c.outputs, others = c.repeated ? c.outputs : c.inputs;
  std::vector<int32_t> neighbours(static_cast<size_t>(rows * c.kernels));
  for (int32_t& neighbour : neighbours) neighbour = others > 0 && draw(100) < c.percent ? draw(others) : -1;
  const Tensor there = empty(device.context, DType::i32, {rows, c.kernels}, "test");
  copyFromHost(device.context, neighbours.data(), there, "test");
  const PairMap map = mapPairs(device.context, there, others, c.repeated, "test");
  return c.repeated ? transposeCuda(device.context, pairsOf(map, c.kernels, c.outputs, rows), map.inputs.numel(), "test") : map;
}

bool sameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

template <class S>
void compare(const Case& c) {
  OnDevice device;
  const PairMap map = mapOf(device, c);
  const Pairs pairs = pairsOf(map, c.kernels, c.inputs, c.outputs);
  const Dims weightShape = c.transposed ? Dims{c.depth, c.kernels, c.columns} : Dims{c.columns, c.kernels, c.depth};
  const Guarded<S> x(device, {c.inputs, c.depth}, c.guard, 1), grad(device, {c.outputs, c.columns}, c.guard, 2), weight(device, weightShape, c.guard, 3);
  const Guarded<S> bias(device, {c.columns}, c.guard, 4);
  Matrices matrices{weight.view, c.kernels, c.columns, c.depth, c.depth, c.kernels * c.depth, 1};
  if (c.transposed) matrices = {weight.view, c.kernels, c.columns, c.depth, c.columns, 1, c.kernels * c.columns, true};
  CHECK(planCuda(device.context, x.view.dtype).kernel == CudaKernel::fragments);
  const auto run = [&](CudaKernel kernel) {
    const CudaPlan cuda{kernel, "the test"};
    const Guarded<S> out(device, {c.outputs, c.columns}, c.guard, 5), weightGrad(device, weightShape, c.guard, 6);
    Matrices gradient = matrices;
    gradient.values = weightGrad.view;
    multiplyCuda(device.context, cuda, pairs, map.inputs.numel(), x.view, matrices, &bias.view, out.view, "test");
    weightGradCuda(device.context, cuda, pairs, map.inputs.numel(), x.view, grad.view, gradient, "test");
    return std::vector<std::vector<float>>{out.read(device), weightGrad.read(device)};
  };
  const auto expected = run(CudaKernel::scalar), found = run(CudaKernel::fragments);
  for (size_t i = 0; i < 2; i++) {
    const bool zero = std::ranges::all_of(expected[i], [](float value) { return value == 0; });
    CHECK(zero ? sameBits(found[i], expected[i]) : close<S>(found[i], expected[i]));
  }
  for (int i = 1; i < kSchedules; i++) {
    const auto again = run(CudaKernel::fragments);
    for (size_t j = 0; j < 2; j++) CHECK(sameBits(again[j], found[j]));
  }
}

TEST(productsOfGatheredRowsOnMatrixUnitsAreThoseOfTheScalarKernels) {
  // Rows and channels around whole blocks, tiles, fragments and copies; bands that begin operands at 16, 8, 4 and 2 bytes.
  for (const Case& c : {Case{150, 150, 27, 36, 40, 30, false, false, 8}, Case{130, 129, 3, 72, 36, 60, false, true, 8}, Case{90, 257, 2, 144, 49, 100, false, false, 12},
                        Case{40, 128, 3, 37, 5, 70, false, false, 8}, Case{33, 20, 3, 38, 66, 100, false, true, 8}, Case{30, 17, 2, 192, 1, 90, false, true, 4},
                        Case{20, 9, 2, 1, 48, 80, false, false, 3}, Case{16, 16, 1, 384, 16, 100, false, false, 8}, Case{1, 1, 1, 32, 8, 100, false, false, 2}}) {
    compare<Half>(c);
    compare<BFloat16>(c);
  }
}

TEST(rowsOfGatheredProductsMayHaveSeveralPairs) {
  for (const Case& c : {Case{300, 3, 2, 33, 20, 90, true, false, 8}, Case{200, 140, 3, 20, 72, 60, true, true, 8}}) {
    compare<Half>(c);
    compare<BFloat16>(c);
  }
}

TEST(gatheredProductsWithoutPairsOrChannelsAreTheBias) {
  for (const Case& c : {Case{0, 5, 3, 8, 8, 100, false, false, 8}, Case{7, 130, 3, 20, 50, 0, false, false, 8}, Case{7, 9, 3, 0, 17, 100, false, false, 8},
                        Case{7, 0, 3, 8, 8, 100, false, false, 8}}) {
    compare<Half>(c);
    compare<BFloat16>(c);
  }
}

// 0 times infinity is NaN: what is not there is left out, not multiplied by 0.
TEST(onlyPairsOfGatheredRowsAreMultiplied) {
  OnDevice device;
  const Case c{20, 20, 1, 16, 16, 50, false, false, 8};
  const PairMap map = mapOf(device, c);
  const Pairs pairs = pairsOf(map, 1, c.inputs, c.outputs);
  std::vector<int32_t> paired(static_cast<size_t>(map.outputs.numel()));
  copyToHost(device.context, map.outputs, paired.data(), "test");
  const Guarded<BFloat16> x(device, {20, 16}, 8, 1), out(device, {20, 16}, 8, 2);
  const Tensor infinite = empty(device.context, DType::bf16, {16, 1, 16}, "test");
  copyFromHost(device.context, std::vector<BFloat16>(256, BFloat16(std::numeric_limits<float>::infinity())).data(), infinite, "test");
  multiplyCuda(device.context, {CudaKernel::fragments, "the test"}, pairs, map.inputs.numel(), x.view, {infinite, 1, 16, 16, 16, 16, 1}, nullptr, out.view, "test");
  const std::vector<float> found = out.read(device);
  for (int32_t row = 0; row < 20; row++) {
    const bool there = std::ranges::find(paired, row) != paired.end();
    for (size_t column = 0; column < 16; column++) CHECK(std::isfinite(found[static_cast<size_t>(row) * 16 + column]) != there);
  }
}

TEST(plansOfGatheredProductsSayWhichKernelAndWhy) {
  OnDevice device;
  for (const DType dtype : {DType::f32, DType::f64}) {
    const CudaPlan plan = planCuda(device.context, dtype);
    CHECK(plan.kernel == CudaKernel::scalar && std::string(plan.reason) == "matrix units would round f32 and f64");
  }
}

}  // namespace
}  // namespace md
