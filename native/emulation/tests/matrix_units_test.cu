// The kernels on matrix units against the scalar ones, of the same operands in f16 and bf16.
#include <cmath>
#include <memory>
#include <vector>

#include "../../core/cuda/launch.h"
#include "../../ops/matmul/cuda.h"
#include "../../tests/check.h"

namespace md {
namespace {

struct OnDevice {
  std::unique_ptr<DeviceQueue> queue{openQueue({DeviceType::cuda, 0}, "test")};
  ThreadPool pool{1};
  Context context{&queue->allocator(), pool, Stream{{DeviceType::cuda, 0}, queue.get()}};
};

/// Numbers in [-1, 1), the same for the same seed.
template <class S>
Tensor numbers(OnDevice& device, int64_t n, uint32_t seed) {
  std::vector<S> values;
  for (int64_t i = 0; i < n; i++) {
    seed = seed * 1664525u + 1013904223u;
    values.push_back(S(static_cast<float>(seed >> 8) * 0x1p-23f - 1));
  }
  const Tensor out = empty(device.context, std::is_same_v<S, Half> ? DType::f16 : DType::bf16, {n}, "test");
  copyFromHost(device.context, values.data(), out, "test");
  return out;
}

template <class S>
std::vector<float> wide(OnDevice& device, const Tensor& x) {
  std::vector<S> values(static_cast<size_t>(x.numel()));
  copyToHost(device.context, x, values.data(), "test");
  std::vector<float> out;
  for (const S value : values) out.push_back(static_cast<float>(value));
  return out;
}

/// Both sum in f32, in another order: what they round to S differs by a unit in its last place.
template <class S>
bool close(const std::vector<float>& found, const std::vector<float>& expected) {
  constexpr double epsilon = std::is_same_v<S, Half> ? 0x1p-10 : 0x1p-7;
  double off = 0, size = 0;
  for (size_t i = 0; i < expected.size(); i++) {
    off += std::pow(static_cast<double>(found[i]) - static_cast<double>(expected[i]), 2);
    size += std::pow(static_cast<double>(expected[i]), 2);
  }
  return size > 0 && std::sqrt(off) <= epsilon * std::sqrt(size) / 4;
}

enum class Layout { rows, columns, gaps };

/// Strides of a rows x cols matrix whose lines lie `pitch` elements apart.
void lay(Layout layout, int64_t pitch, int64_t& rowStride, int64_t& colStride) {
  rowStride = layout == Layout::columns ? 1 : pitch;
  colStride = layout == Layout::columns ? pitch : layout == Layout::gaps ? 2 : 1;
}

struct Product {
  int64_t m, n, k;
  Layout a, b;
  int64_t pitch;  // of both: a multiple of 8 is copied asynchronously
  bool epilogue;
};

template <class S>
void compareProducts(OnDevice& device, const Product& o) {
  constexpr int64_t items = 2;
  const int64_t span = 2 * 80 * o.pitch;
  const Tensor a = numbers<S>(device, items * span, 1), b = numbers<S>(device, items * span, 2), bias = numbers<S>(device, o.n, 3);
  matmul::GemmArgs g;
  g.dtype = a.dtype;
  g.m = o.m;
  g.n = o.n;
  g.k = o.k;
  g.a = a.raw();
  g.b = b.raw();
  lay(o.a, o.pitch, g.aRow, g.aCol);
  lay(o.b, o.pitch, g.bRow, g.bCol);
  g.cRow = o.n;
  g.alpha = 0.5;
  if (o.epilogue) {
    g.accumulate = true;
    g.bias = bias.raw();
    g.activation = matmul::Activation::gelu;
  }
  const matmul::Batch batch{{items}, {span}, {span}, {o.m * o.n}};
  CHECK(matmul::planCuda(device.context, g, batch).kernel == matmul::CudaKernel::fragments);
  std::vector<float> results[2];
  for (const auto kernel : {matmul::CudaKernel::fragments, matmul::CudaKernel::scalar}) {
    const Tensor c = numbers<S>(device, items * o.m * o.n, 4), pre = empty(device.context, g.dtype, {items * o.m * o.n}, "test");
    g.c = c.raw();
    if (o.epilogue) g.preActivation = pre.raw();
    matmul::gemmCuda(device.context, g, batch, {kernel, "the test"}, "test");
    std::vector<float>& out = results[kernel == matmul::CudaKernel::scalar];
    out = wide<S>(device, c);
    if (!o.epilogue) continue;
    const std::vector<float> before = wide<S>(device, pre);
    out.insert(out.end(), before.begin(), before.end());
  }
  CHECK(close<S>(results[0], results[1]));
}

TEST(productsOnMatrixUnitsAreThoseOfTheScalarKernel) {
  OnDevice device;
  for (const Product& o : {Product{70, 65, 35, Layout::rows, Layout::rows, 80, false}, Product{70, 65, 35, Layout::columns, Layout::columns, 80, true},
                           Product{3, 67, 80, Layout::rows, Layout::columns, 81, true}, Product{64, 64, 32, Layout::columns, Layout::rows, 72, false},
                           Product{5, 9, 70, Layout::gaps, Layout::rows, 160, false}, Product{1, 1, 1, Layout::rows, Layout::gaps, 8, true}}) {
    compareProducts<Half>(device, o);
    compareProducts<BFloat16>(device, o);
  }
}

}  // namespace
}  // namespace md
