// The product of our own: it takes any strides, and stands in wherever cuBLAS is absent or cannot take them.
#include "cuda.h"

#include <climits>

#include "../../core/cuda/activations.h"
#include "../../core/cuda/cublas.h"
#include "../../core/cuda/launch.h"

namespace md::matmul {
namespace {

using namespace md::cuda;

constexpr int kTile = 64;    // rows and columns of C of a block
constexpr int kDepth = 16;   // of k at a time
constexpr int kOwn = 4;      // rows and columns of C of a thread
constexpr int kSide = kTile / kOwn;
static_assert(kSide * kSide == kThreads);

struct Strides {
  int rank;
  int64_t extent[kMaxRank], a[kMaxRank], b[kMaxRank], c[kMaxRank];
};

/// Of elements stored as S; sums are Computed<S>.
template <class S>
struct Product {
  int64_t m, n, k;
  const S* a;
  int64_t aRow, aCol;
  const S* b;
  int64_t bRow, bCol;
  S* c;
  int64_t cRow, cCol;
  Computed<S> alpha;
  bool accumulate;
  const S* bias;
  int64_t biasRow, biasCol;
  Activation activation;
  S* preActivation;
  int64_t items;
  Strides batch;
};

template <class T>
__device__ T activated(T x, Activation activation) {
  switch (activation) {
    case Activation::relu: return x > T(0) || x != x ? x : T(0);
    case Activation::gelu: return geluOf(x);
    case Activation::geluTanh: return geluTanhOf(x);
    case Activation::silu: return x * sigmoidOf(x);
    default: return x;
  }
}

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
    int64_t aAt = 0, bAt = 0, cAt = 0, rest = item;
    for (int axis = g.batch.rank - 1; axis >= 0; axis--) {
      const int64_t index = rest % g.batch.extent[axis];
      rest /= g.batch.extent[axis];
      aAt += index * g.batch.a[axis];
      bAt += index * g.batch.b[axis];
      cAt += index * g.batch.c[axis];
    }
    T sum[kOwn][kOwn] = {};
    for (int64_t depth = 0; depth < g.k; depth += kDepth) {
      loadTile(g.a + aAt, firstRow, g.m, depth, g.k, g.aRow, g.aCol, aTile);
      loadTile(g.b + bAt, firstCol, g.n, depth, g.k, g.bCol, g.bRow, bTile);
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
      for (int j = 0; j < kOwn; j++) {
        const int64_t row = firstRow + ownRow + i * kSide, col = firstCol + ownCol + j * kSide;
        if (row >= g.m || col >= g.n) continue;
        const int64_t at = cAt + row * g.cRow + col * g.cCol;
        T value = g.alpha * sum[i][j];
        if (g.accumulate) value += static_cast<T>(g.c[at]);
        if (g.bias) value += static_cast<T>(g.bias[row * g.biasRow + col * g.biasCol]);
        if (g.preActivation) g.preActivation[at] = static_cast<S>(value);
        g.c[at] = static_cast<S>(activated(value, g.activation));
      }
    }
  }
}

/// An operand for column-major cuBLAS, which reads a row-major matrix as its transpose.
struct Layout {
  bool transpose;
  int64_t leading;
};
/// Whether [rows, cols] lies in whole rows or whole columns.
bool layoutOf(int64_t rows, int64_t cols, int64_t rowStride, int64_t colStride, Layout& layout) {
  if (colStride == 1 && rowStride >= cols) return layout = {false, rowStride}, true;
  if (rowStride == 1 && colStride >= rows) return layout = {true, colStride}, true;
  return false;
}

/// act(C + bias) of what cuBLAS left in C.
template <class S>
__global__ void epilogueKernel(int64_t n, int64_t perItem, int64_t cols, S* c, int64_t step, int64_t rowStride, const S* __restrict__ bias,
                               int64_t biasRow, int64_t biasCol, Activation activation, S* preActivation) {
  using T = Computed<S>;
  gridStride(n, [&](int64_t i) {
    const int64_t row = i % perItem / cols, col = i % cols, at = i / perItem * step + row * rowStride + col;
    const T value = static_cast<T>(c[at]) + (bias ? static_cast<T>(bias[row * biasRow + col * biasCol]) : T(0));
    if (preActivation) preActivation[at] = static_cast<S>(value);
    c[at] = static_cast<S>(activated(value, activation));
  });
}

/// The product by cuBLAS and an epilogue; false where it is absent or the strides are not its own.
template <class S>
bool runCublas(Context& context, const GemmArgs& g, const Batch& batch, const char* op) {
  Layout a, b;
  if (!hasCublas() || batch.shape.rank > 1 || g.cCol != 1 || g.cRow < g.n || g.k == 0) return false;
  if (!layoutOf(g.m, g.k, g.aRow, g.aCol, a) || !layoutOf(g.k, g.n, g.bRow, g.bCol, b)) return false;
  const int64_t batches = batch.shape.numel();
  for (const int64_t extent : {g.m, g.n, g.k, a.leading, b.leading, g.cRow, batches}) {
    if (extent > INT_MAX) return false;
  }
  const auto to = [](int64_t extent) { return static_cast<int>(extent); };
  const auto stepOf = [&](const Dims& strides) { return batch.shape.rank == 1 ? strides[0] : 0; };
  // Cᵀ = Bᵀ Aᵀ, since C is row-major.
  cublasGemm(context, g.dtype,
             {b.transpose, a.transpose, to(g.n), to(g.m), to(g.k), g.alpha, g.accumulate ? 1.0 : 0.0, g.b, to(b.leading), stepOf(batch.b), g.a,
              to(a.leading), stepOf(batch.a), g.c, to(g.cRow), stepOf(batch.c), to(batches)},
             op);
  if (g.bias || g.activation != Activation::none || g.preActivation) {
    const int64_t n = batches * g.m * g.n;
    launch(context, op, epilogueKernel<S>, blocksFor(n), kThreads, n, g.m * g.n, g.n, static_cast<S*>(g.c), stepOf(batch.c), g.cRow,
           static_cast<const S*>(g.bias), g.biasRow, g.biasCol, g.activation, static_cast<S*>(g.preActivation));
  }
  return true;
}

template <class S>
void run(Context& context, const GemmArgs& g, const Batch& batch, const char* op) {
  if (runCublas<S>(context, g, batch, op)) return;
  Product<S> product{g.m, g.n, g.k, static_cast<const S*>(g.a), g.aRow, g.aCol, static_cast<const S*>(g.b), g.bRow, g.bCol,
                     static_cast<S*>(g.c), g.cRow, g.cCol, static_cast<Computed<S>>(g.alpha), g.accumulate, static_cast<const S*>(g.bias),
                     g.biasRow, g.biasCol, g.activation, static_cast<S*>(g.preActivation), batch.shape.numel(), {}};
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
  launch(context, op, gemmKernel<S>, blocks, kThreads, product);
}

}  // namespace

void gemmCuda(Context& context, const GemmArgs& args, const Batch& batch, const char* op) {
  dispatchStoredFloat(args.dtype, op, [&](auto tag) { run<typename decltype(tag)::type>(context, args, batch, op); });
}

}  // namespace md::matmul
