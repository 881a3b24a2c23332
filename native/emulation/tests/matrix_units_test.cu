// The kernels on matrix units against the scalar ones, of the same operands in f16 and bf16.
#include <string>

#include "../../ops/masked_attention/cuda.h"
#include "../../ops/matmul/cuda.h"
#include "../../tests/check.h"
#include "on_device.h"

namespace md {
namespace {

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
  const Tensor a = numbers<S>(device, items * span, 1), b = numbers<S>(device, items * span, 2), bias = numbers<S>(device, o.n, 3),
               residual = numbers<S>(device, items * o.m * o.n, 5);
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
    g.residual = residual.raw();
    g.activation = matmul::Activation::gelu;
  }
  const matmul::Batch batch{{items}, {span}, {span}, {o.m * o.n}};
  CHECK(matmul::planCuda(device.context, g, batch).kernel == matmul::CudaKernel::fragments);
  std::vector<float> results[2];
  for (const auto kernel : {matmul::CudaKernel::fragments, matmul::CudaKernel::scalar}) {
    const Tensor c = numbers<S>(device, items * o.m * o.n, 4), derivative = empty(device.context, g.dtype, {items * o.m * o.n}, "test");
    g.c = c.raw();
    if (o.epilogue) g.derivative = derivative.raw();
    matmul::gemmCuda(device.context, g, batch, {kernel, "the test"}, "test");
    std::vector<float>& out = results[kernel == matmul::CudaKernel::scalar];
    out = wide<S>(device, c);
    if (!o.epilogue) continue;
    const std::vector<float> slopes = wide<S>(device, derivative);
    out.insert(out.end(), slopes.begin(), slopes.end());
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

struct Attention {
  masked_attention::Mask mask;
  int64_t tokens, headDim;
  bool dropout;
};

/// Outputs and gradients; rows have gaps between them that no 16 bytes divide, or none.
template <class S>
void compareAttention(OnDevice& device, const Attention& o) {
  using namespace masked_attention;
  constexpr int64_t batch = 2, heads = 2;
  const int64_t n = batch * heads * o.tokens * o.headDim;
  const auto rows = [&](const Tensor& x) { return Rows{x.raw(), heads * o.tokens * o.headDim, o.headDim, heads * o.headDim}; };
  const Tensor q = numbers<S>(device, n, 1), k = numbers<S>(device, n, 2), v = numbers<S>(device, n, 3), grad = numbers<S>(device, n, 4);
  const Sizes sizes{batch, heads, o.tokens, o.tokens, o.headDim};
  const Plan plan = masked_attention::plan(o.mask, sizes, "test");
  Problem p{q.dtype, batch, heads, o.tokens, o.tokens, o.headDim, 0.4, plan.predicate, rows(q), {{}, rows(k)}, {{}, rows(v)}, {}, {}, {}};
  if (o.dropout) p.dropout = {1 << 14, 4.0 / 3, 5, 9};
  CHECK(planCuda(device.context, q.dtype).kernel == CudaKernel::fragments);
  std::vector<float> results[2][4];
  for (const auto kernel : {CudaKernel::fragments, CudaKernel::scalar}) {
    const CudaPlan cuda{kernel, "the test"};
    const Tensor logSumExp = empty(device.context, DType::f32, {batch, heads, o.tokens}, "test");
    Tensor made[4];
    for (Tensor& x : made) x = empty(device.context, q.dtype, {n}, "test");
    forwardCuda(device.context, cuda, p, plan.queries, rows(made[0]), logSumExp.raw(), "test");
    backwardCuda(device.context, cuda, p, plan, {rows(made[0]), rows(grad), logSumExp.raw(), rows(made[1]), {{}, rows(made[2])}, {{}, rows(made[3])}}, "test");
    for (size_t i = 0; i < 4; i++) results[kernel == CudaKernel::scalar][i] = wide<S>(device, made[i]);
  }
  // Weights and slopes are rounded to S before they are multiplied.
  for (size_t i = 0; i < 4; i++) CHECK(close<S>(results[0][i], results[1][i]));
}

TEST(plansSayWhichKernelAndWhy) {
  OnDevice device;
  matmul::GemmArgs g;
  g.m = g.n = g.k = 4;
  const auto wide = matmul::planCuda(device.context, g, {});
  CHECK(wide.kernel == matmul::CudaKernel::scalar && std::string(wide.reason) == "there is no cuBLAS");
  const auto attention = masked_attention::planCuda(device.context, DType::f32);
  CHECK(attention.kernel == masked_attention::CudaKernel::scalar && std::string(attention.reason) == "matrix units would round f32 and f64");
}

TEST(attentionOnMatrixUnitsIsThatOfTheScalarKernel) {
  OnDevice device;
  masked_attention::Mask level2, causal;
  level2.kind = masked_attention::MaskKind::level2;
  level2.samples = 9;
  level2.tokensPerSample = 2;
  level2.conditionTokens = 70;
  causal.kind = masked_attention::MaskKind::causal;
  for (const Attention& o : {Attention{level2, 88, 15, true}, Attention{level2, 88, 24, false}, Attention{causal, 70, 72, false}}) {
    compareAttention<Half>(device, o);
    compareAttention<BFloat16>(device, o);
  }
}

}  // namespace
}  // namespace md
