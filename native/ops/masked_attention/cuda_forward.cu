// The choice of kernels, and the scalar forward one: a thread block has some queries of one head and meets their keys tile by tile, with an online softmax. A
// query's sums and its softmax are those of its own lanes, so that it never sees another query's values.
#include "../../core/cuda/fragments.h"
#include "cuda_tile.h"

namespace md::masked_attention {
namespace {

using namespace md::cuda;

/// Rows are stored as Stored; sums and the softmax are Computed<Stored>.
template <class Stored, int D>
__global__ void forwardKernel(Problem p, const Item* __restrict__ items, const Block* __restrict__ blocks, Rows out,
                              Computed<Stored>* __restrict__ logSumExp) {
  using T = Computed<Stored>;
  using S = Shape<T, D, 2>;
  MD_SHARED(T, queries, [S::rows][D + 1]);
  MD_SHARED(T, others, [S::rows][D + 1]);  // keys, then their values
  MD_SHARED(T, weights, [S::rows][S::rows + 1]);
  const Part part = partOf<S>(items, blocks, p.heads);
  if (part.rows <= 0) return;
  const int64_t batch = part.batch, head = part.head;
  const int row = static_cast<int>(threadIdx.x) / S::lanes, lane = static_cast<int>(threadIdx.x) % S::lanes;
  const int64_t query = part.first + (row < part.rows ? row : 0);  // rows that are not there repeat the first, unseen
  loadTile<Stored>(queries, p.q, batch, head, part.first, part.rows, p.headDim, static_cast<T>(p.scale * kLog2E));

  T sums[S::channels] = {};
  T most = std::numeric_limits<T>::lowest();  // finite: lowest - lowest is 0 where nothing was attended yet
  T total = 0;

  // Weights of keys [first, first + n), which keyAt(j, d) gives; earlier sums shrink.
  const auto weigh = [&](int64_t first, int64_t n, auto keyAt) {
    T scores[S::columns] = {};
    for (int d = 0; d < D; d++) {
      const T q = queries[row][d];
      for (int c = 0; c < S::columns; c++) scores[c] += q * keyAt(lane + c * S::lanes, d);
    }
    T now = most;
    for (int c = 0; c < S::columns; c++) {
      const int j = lane + c * S::lanes;
      if (j >= n || !allows(p.predicate, batch, head, query, first + j)) scores[c] = -std::numeric_limits<T>::infinity();
      now = Larger()(now, scores[c]);
    }
    now = rowReduce<S::lanes>(now, Larger());
    T sum = 0;
    for (int c = 0; c < S::columns; c++) {
      const int j = lane + c * S::lanes;
      const T weight = std::exp2(scores[c] - now);
      sum += weight;
      weights[row][j] = j < n ? weight * keepOf<T>(p, batch, head, query, first + j) : T(0);
    }
    const T decay = std::exp2(most - now);
    total = total * decay + rowReduce<S::lanes>(sum, Add());
    most = now;
    for (int c = 0; c < S::channels; c++) sums[c] *= decay;
    __syncwarp();
  };
  const auto add = [&](int64_t n, auto valueAt) {
    for (int j = 0; j < n; j++) {
      const T weight = weights[row][j];
      for (int c = 0; c < S::channels; c++) sums[c] += weight * valueAt(j, lane + c * S::lanes);
    }
    __syncwarp();
  };

  __syncthreads();
  // A row meets the tokens of its own sample straight from memory: no other sample's values enter its arithmetic.
  const int64_t own = part.block.ownTokens;
  for (int64_t from = 0; from < own; from += S::rows) {
    const int64_t n = own - from < S::rows ? own - from : S::rows, first = query / own * own + from;
    const auto rowsAt = [&](const Rows& rows) {
      return [=](int64_t j, int64_t d) { return j < n && d < p.headDim ? static_cast<T>(rows.at<Stored>(batch, head, first + j)[d]) : T(0); };
    };
    weigh(first, n, rowsAt(p.k.others));
    add(n, rowsAt(p.v.others));
  }
  for (int range = 0; range < 2; range++) {
    const int64_t end = part.block.rangeEnd[range];
    for (int64_t from = part.block.rangeBegin[range]; from < end; from += S::rows) {
      const int64_t n = end - from < S::rows ? end - from : S::rows;
      const auto tileAt = [&](int j, int d) { return others[j][d]; };
      __syncthreads();
      loadTile<Stored>(others, p.k.others, batch, head, from, n, p.headDim, T(1));
      __syncthreads();
      weigh(from, n, tileAt);
      __syncthreads();
      loadTile<Stored>(others, p.v.others, batch, head, from, n, p.headDim, T(1));
      __syncthreads();
      add(n, tileAt);
    }
  }

  if (row >= part.rows) return;
  const bool none = total == T(0);
  const T inverse = none ? T(0) : T(1) / total;
  for (int c = 0; c < S::channels; c++) {
    const int d = lane + c * S::lanes;
    if (d < p.headDim) out.at<Stored>(batch, head, query)[d] = static_cast<Stored>(sums[c] * inverse);
  }
  if (lane == 0) logSumExp[(batch * p.heads + head) * p.queries + query] = none ? std::numeric_limits<T>::infinity() : most + std::log2(total);
}

}  // namespace

CudaPlan planCuda(const Context& context, DType dtype) {
  if (!isHalf(dtype)) return {CudaKernel::scalar, "matrix units would round f32 and f64"};
  if (!cuda::hasMatrixUnits(context)) return {CudaKernel::scalar, "compute capability below 8.0"};
  return {CudaKernel::fragments, "f16 and bf16 fit matrix units"};
}

void forwardCuda(Context& context, const CudaPlan& cuda, const Problem& problem, const BlockList& queries, const Rows& out, void* logSumExp,
                 const char* op) {
  const DeviceBlocks list(context, queries, op);
  if (list.count * problem.heads == 0) return;
  const PreparedProblem prepared(context, problem, cuda.kernel, op);
  if (cuda.kernel == CudaKernel::fragments) {
    return forwardFragments(context, prepared.problem, list, out, static_cast<float*>(logSumExp), op);
  }
  dispatchStoredFloat(problem.dtype, op, [&](auto tag) {
    using Stored = typename decltype(tag)::type;
    using T = Computed<Stored>;
    withHeadDim(problem.headDim, [&](auto depth) {
      using S = Shape<T, depth(), 2>;
      launch(context, op, forwardKernel<Stored, depth()>, list.grid<S>(problem.heads), S::threads, prepared.problem, list.itemData(), list.blockData(), out,
             static_cast<T*>(logSumExp));
    });
  });
}

}  // namespace md::masked_attention
