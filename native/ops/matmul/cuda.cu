// The choice of a kernel, and the scalar one: it takes any dtype and strides, and is what the others are compared with.
#include "cuda.h"

#include <climits>

#include "../../core/cuda/cublas.h"
#include "../../core/cuda/fragments.h"
#include "cuda_product.h"

namespace md::matmul {
namespace {

using namespace md::cuda;

constexpr int kDepth = 16;   // of k at a time
constexpr int kOwn = 4;      // rows and columns of C of a thread
constexpr int kSide = kTile / kOwn;
static_assert(kSide * kSide == kThreads);

/// rows x kDepth of an operand into shared memory, zeros outside. Threads run along the axis that lies together.
template <class S, class T>
__device__ void loadTile(const S* __restrict__ from, int64_t firstRow, int64_t rows, int64_t firstDepth, int64_t depths, int64_t rowStride,
                         int64_t depthStride, T (&tile)[kDepth][kTile + 1]) {
  const bool alongDepth = depthStride == 1;
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kDepth; i += kThreads) {
    const int row = alongDepth ? i / kDepth : i % kTile, depth = alongDepth ? i % kDepth : i / kTile;
    const int64_t r = firstRow + row, d = firstDepth + depth;
    tile[depth][row] = r < rows && d < depths ? static_cast<T>(from[r * rowStride + d * depthStride]) : T(0);
  }
}

/// Every thread sums kOwn x kOwn elements of C in the order of k; rows and columns of a thread lie kSide apart, so that a
/// warp reads shared memory side by side.
template <class S>
__global__ void gemmKernel(Product<S> g) {
  using T = Computed<S>;
  MD_SHARED(T, aTile, [kDepth][kTile + 1]);
  MD_SHARED(T, bTile, [kDepth][kTile + 1]);
  const int64_t firstRow = static_cast<int64_t>(blockIdx.y) * kTile, firstCol = static_cast<int64_t>(blockIdx.x) * kTile;
  const int ownRow = static_cast<int>(threadIdx.x) / kSide, ownCol = static_cast<int>(threadIdx.x) % kSide;
  for (int64_t item = blockIdx.z; item < g.items; item += gridDim.z) {
    const Offsets at = offsetsOf(g.batch, item);
    T sum[kOwn][kOwn] = {};
    for (int64_t depth = 0; depth < g.k; depth += kDepth) {
      loadTile(g.a + at.a, firstRow, g.m, depth, g.k, g.aRow, g.aCol, aTile);
      loadTile(g.b + at.b, firstCol, g.n, depth, g.k, g.bCol, g.bRow, bTile);
      __syncthreads();
      for (int d = 0; d < kDepth; d++) {
        T left[kOwn], right[kOwn];
        for (int i = 0; i < kOwn; i++) left[i] = aTile[d][ownRow + i * kSide];
        for (int j = 0; j < kOwn; j++) right[j] = bTile[d][ownCol + j * kSide];
        for (int i = 0; i < kOwn; i++)
          for (int j = 0; j < kOwn; j++) sum[i][j] += left[i] * right[j];
      }
      __syncthreads();
    }
    for (int i = 0; i < kOwn; i++) {
      for (int j = 0; j < kOwn; j++) store(g, at.c, firstRow + ownRow + i * kSide, firstCol + ownCol + j * kSide, sum[i][j]);
    }
  }
}

/// An operand for column-major cuBLAS, which reads a row-major matrix as its transpose.
struct Layout {
  bool transpose = false;
  int64_t leading = 0;
};
/// Whether [rows, cols] lies in whole rows or whole columns.
bool layoutOf(int64_t rows, int64_t cols, int64_t rowStride, int64_t colStride, Layout& layout) {
  if (colStride == 1 && rowStride >= cols) return layout = {false, rowStride}, true;
  if (rowStride == 1 && colStride >= rows) return layout = {true, colStride}, true;
  return false;
}

/// act(C + bias) + residual of what cuBLAS left in C.
template <class S>
__global__ void epilogueKernel(int64_t n, int64_t perItem, int64_t cols, S* c, int64_t step, int64_t rowStride, const S* __restrict__ bias,
                               int64_t biasRow, int64_t biasCol, Activation activation, S* derivative, const S* __restrict__ residual) {
  using T = Computed<S>;
  gridStride(n, [&](int64_t i) {
    const int64_t row = i % perItem / cols, col = i % cols, at = i / perItem * step + row * rowStride + col;
    const T value = static_cast<T>(c[at]) + (bias ? static_cast<T>(bias[row * biasRow + col * biasCol]) : T(0));
    if (derivative) derivative[at] = static_cast<S>(derivativeOf(value, activation));
    c[at] = static_cast<S>(activated(value, activation) + (residual ? static_cast<T>(residual[at]) : T(0)));
  });
}

/// The product by cuBLAS and an epilogue.
template <class S>
void runCublas(Context& context, const GemmArgs& g, const Batch& batch, const char* op) {
  Layout a, b;
  layoutOf(g.m, g.k, g.aRow, g.aCol, a);
  layoutOf(g.k, g.n, g.bRow, g.bCol, b);
  const int64_t batches = batch.shape.numel();
  const auto to = [](int64_t extent) { return static_cast<int>(extent); };
  const auto stepOf = [&](const Dims& strides) { return batch.shape.rank == 1 ? strides[0] : 0; };
  // Cᵀ = Bᵀ Aᵀ, since C is row-major.
  cublasGemm(context, g.dtype,
             {b.transpose, a.transpose, to(g.n), to(g.m), to(g.k), g.alpha, g.accumulate ? 1.0 : 0.0, g.b, to(b.leading), stepOf(batch.b), g.a,
              to(a.leading), stepOf(batch.a), g.c, to(g.cRow), stepOf(batch.c), to(batches)},
             op);
  if (g.bias || g.activation != Activation::none || g.derivative || g.residual) {
    const int64_t n = batches * g.m * g.n;
    launch(context, op, epilogueKernel<S>, blocksFor(n), kThreads, n, g.m * g.n, g.n, static_cast<S*>(g.c), stepOf(batch.c), g.cRow,
           static_cast<const S*>(g.bias), g.biasRow, g.biasCol, g.activation, static_cast<S*>(g.derivative), static_cast<const S*>(g.residual));
  }
}

/// Why cuBLAS cannot take the product; null where it can.
const char* cublasRefuses(const GemmArgs& g, const Batch& batch) {
  Layout a, b;
  if (!hasCublas()) return "there is no cuBLAS";
  if (g.k == 0) return "there is nothing to sum";
  if (batch.shape.rank > 1) return "the batch has several axes";
  if (g.cCol != 1 || g.cRow < g.n || !layoutOf(g.m, g.k, g.aRow, g.aCol, a) || !layoutOf(g.k, g.n, g.bRow, g.bCol, b)) return "an operand has no leading dimension";
  for (const int64_t extent : {g.m, g.n, g.k, a.leading, b.leading, g.cRow, batch.shape.numel()}) {
    if (extent > INT_MAX) return "an extent does not fit an int";
  }
  return nullptr;
}

/// By a kernel of our own.
template <class S>
void runOwn(Context& context, const GemmArgs& g, const Batch& batch, CudaKernel kernel, const char* op) {
  Product<S> product{g.m, g.n, g.k, static_cast<const S*>(g.a), g.aRow, g.aCol, static_cast<const S*>(g.b), g.bRow, g.bCol,
                     static_cast<S*>(g.c), g.cRow, g.cCol, static_cast<Computed<S>>(g.alpha), g.accumulate, static_cast<const S*>(g.bias),
                     g.biasRow, g.biasCol, g.activation, static_cast<S*>(g.derivative), static_cast<const S*>(g.residual),
                     batch.shape.numel(), {}};
  product.batch.rank = batch.shape.rank;
  for (int axis = 0; axis < batch.shape.rank; axis++) {
    product.batch.extent[axis] = batch.shape[axis];
    product.batch.a[axis] = batch.a[axis];
    product.batch.b[axis] = batch.b[axis];
    product.batch.c[axis] = batch.c[axis];
  }
  const int64_t rows = (g.m + kTile - 1) / kTile, cols = (g.n + kTile - 1) / kTile;
  if (rows > 65535) fail(ErrorKind::unsupported, op, "the product has ", g.m, " rows, expected at most ", 65535 * kTile, " on a CUDA device");
  const dim3 blocks(static_cast<unsigned>(cols), static_cast<unsigned>(rows), static_cast<unsigned>(product.items < 65535 ? product.items : 65535));
  if constexpr (sizeof(S) == 2) {
    if (kernel == CudaKernel::fragments) return launchFragments(context, product, blocks, op);
  }
  launch(context, op, gemmKernel<S>, blocks, kThreads, product);
}

}  // namespace

CudaPlan planCuda(const Context& context, const GemmArgs& args, const Batch& batch) {
  const char* const refusal = cublasRefuses(args, batch);
  if (!refusal) return {CudaKernel::cublas, "cuBLAS takes its layout"};
  if (!isHalf(args.dtype)) return {CudaKernel::scalar, refusal};
  if (!hasMatrixUnits(context)) return {CudaKernel::scalar, "compute capability below 8.0"};
  return {CudaKernel::fragments, refusal};
}

void gemmCuda(Context& context, const GemmArgs& args, const Batch& batch, const CudaPlan& plan, const char* op) {
  dispatchStoredFloat(args.dtype, op, [&](auto tag) {
    using S = typename decltype(tag)::type;
    if (plan.kernel == CudaKernel::cublas) return runCublas<S>(context, args, batch, op);
    runOwn<S>(context, args, batch, plan.kernel, op);
  });
}

}  // namespace md::matmul
