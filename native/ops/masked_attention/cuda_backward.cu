// The scalar backward kernel, in two passes that own their sums: over blocks of keys for dk and dv, over blocks of queries for dq. Both
// recompute the weights from the saved log-sum-exp.
#include "cuda_tile.h"

namespace md::masked_attention {
namespace {

using namespace md::cuda;

/// delta [B, H, Tq] = Σ_d grad · out, a warp for a query.
template <class Stored>
__global__ void deltaKernel(Problem p, Rows out, Rows grad, Computed<Stored>* __restrict__ delta) {
  using T = Computed<Stored>;
  const int64_t row = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / kWarp;
  if (row >= p.batch * p.heads * p.queries) return;
  const int64_t batch = row / p.queries / p.heads, head = row / p.queries % p.heads, query = row % p.queries;
  T sum = 0;
  for (int64_t d = threadIdx.x % kWarp; d < p.headDim; d += kWarp) {
    sum += static_cast<T>(out.at<Stored>(batch, head, query)[d]) * static_cast<T>(grad.at<Stored>(batch, head, query)[d]);
  }
  sum = warpReduce(sum, Add());
  if (threadIdx.x % kWarp == 0) delta[row] = sum;
}

/// Two rows of each token: of keys k and v, of queries q and the gradient of the output.
struct Side {
  Rows first, second;
  double scale;  // of the first
};

/// Tokens of one side, which own the sums, meet those of the other. Keys: dFirst is dk and dSecond dv; else dFirst is dq.
template <class Stored, int D, bool Keys>
__global__ void backwardKernel(Problem p, const Item* __restrict__ items, const Block* __restrict__ blocks, Side own, Side other,
                               const Computed<Stored>* __restrict__ logSumExp, const Computed<Stored>* __restrict__ delta, Rows dFirst,
                               double dScale, Rows dSecond) {
  using T = Computed<Stored>;
  using S = Shape<T, D, 4>;
  MD_SHARED(T, ownFirst, [S::rows][D + 1]);
  MD_SHARED(T, ownSecond, [S::rows][D + 1]);
  MD_SHARED(T, otherFirst, [S::rows][D + 1]);
  MD_SHARED(T, otherSecond, [S::rows][D + 1]);
  MD_SHARED(T, weights, [S::rows][S::rows + 1]);  // then gradients of scores
  const Part part = partOf<S>(items, blocks, p.heads);
  if (part.rows <= 0) return;
  const int64_t batch = part.batch, head = part.head, firstQuery = (batch * p.heads + head) * p.queries;
  const int row = static_cast<int>(threadIdx.x) / S::lanes, lane = static_cast<int>(threadIdx.x) % S::lanes;
  const int64_t token = part.first + (row < part.rows ? row : 0);  // rows that are not there repeat the first, unseen
  loadTile<Stored>(ownFirst, own.first, batch, head, part.first, part.rows, p.headDim, static_cast<T>(own.scale));
  loadTile<Stored>(ownSecond, own.second, batch, head, part.first, part.rows, p.headDim, T(1));

  T sumFirst[S::channels] = {}, sumSecond[S::channels] = {};
  const auto add = [&](T(&sums)[S::channels], const T(&factors)[S::columns], int64_t n, auto rowAt) {
    for (int c = 0; c < S::columns; c++) weights[row][lane + c * S::lanes] = factors[c];
    __syncwarp();
    for (int j = 0; j < n; j++) {
      const T factor = weights[row][j];
      for (int c = 0; c < S::channels; c++) sums[c] += factor * rowAt(j, lane + c * S::lanes);
    }
    __syncwarp();
  };
  // What tokens [first, first + n) of the other side add, whose rows firstAt(j, d) and secondAt(j, d) give.
  const auto meet = [&](int64_t first, int64_t n, auto firstAt, auto secondAt) {
    T scores[S::columns] = {}, slopes[S::columns] = {};
    for (int d = 0; d < D; d++) {
      const T a = ownFirst[row][d], b = ownSecond[row][d];
      for (int c = 0; c < S::columns; c++) {
        scores[c] += a * firstAt(lane + c * S::lanes, d);
        slopes[c] += b * secondAt(lane + c * S::lanes, d);
      }
    }
    for (int c = 0; c < S::columns; c++) {
      const int64_t j = lane + c * S::lanes, query = Keys ? first + j : token, key = Keys ? token : first + j;
      if (j < n && allows(p.predicate, batch, head, query, key)) {
        const T weight = std::exp2(scores[c] - logSumExp[firstQuery + query]), keep = keepOf<T>(p, batch, head, query, key);
        scores[c] = weight * keep;
        slopes[c] = weight * (keep * slopes[c] - delta[firstQuery + query]);
      } else {
        scores[c] = slopes[c] = T(0);
      }
    }
    if constexpr (Keys) add(sumSecond, scores, n, secondAt);
    add(sumFirst, slopes, n, firstAt);
  };

  __syncthreads();
  const int64_t ownTokens = part.block.ownTokens;
  for (int64_t from = 0; from < ownTokens; from += S::rows) {
    const int64_t n = ownTokens - from < S::rows ? ownTokens - from : S::rows, first = token / ownTokens * ownTokens + from;
    const auto rowsAt = [&](const Rows& rows, T scale) {
      return [=](int64_t j, int64_t d) { return j < n && d < p.headDim ? static_cast<T>(rows.at<Stored>(batch, head, first + j)[d]) * scale : T(0); };
    };
    meet(first, n, rowsAt(other.first, static_cast<T>(other.scale)), rowsAt(other.second, T(1)));
  }
  for (int range = 0; range < 2; range++) {
    const int64_t end = part.block.rangeEnd[range];
    for (int64_t from = part.block.rangeBegin[range]; from < end; from += S::rows) {
      const int64_t n = end - from < S::rows ? end - from : S::rows;
      __syncthreads();
      loadTile<Stored>(otherFirst, other.first, batch, head, from, n, p.headDim, static_cast<T>(other.scale));
      loadTile<Stored>(otherSecond, other.second, batch, head, from, n, p.headDim, T(1));
      __syncthreads();
      meet(from, n, [&](int j, int d) { return otherFirst[j][d]; }, [&](int j, int d) { return otherSecond[j][d]; });
    }
  }

  if (row >= part.rows) return;
  for (int c = 0; c < S::channels; c++) {
    const int d = lane + c * S::lanes;
    if (d >= p.headDim) continue;
    dFirst.at<Stored>(batch, head, token)[d] = static_cast<Stored>(sumFirst[c] * static_cast<T>(dScale));
    if constexpr (Keys) dSecond.at<Stored>(batch, head, token)[d] = static_cast<Stored>(sumSecond[c]);
  }
}

template <bool Keys>
void pass(Context& context, const Problem& p, const BlockList& list, const Side& own, const Side& other, const void* logSumExp, const void* delta,
          const Rows& dFirst, double dScale, const Rows& dSecond, const char* op) {
  const DeviceBlocks blocks(context, list, op);
  if (blocks.count * p.heads == 0) return;
  dispatchStoredFloat(p.dtype, op, [&](auto tag) {
    using Stored = typename decltype(tag)::type;
    using T = Computed<Stored>;
    withHeadDim(p.headDim, [&](auto depth) {
      using S = Shape<T, depth(), 4>;
      launch(context, op, backwardKernel<Stored, depth(), Keys>, blocks.grid<S>(p.heads), S::threads, p, blocks.itemData(), blocks.blockData(), own, other,
             static_cast<const T*>(logSumExp), static_cast<const T*>(delta), dFirst, dScale, dSecond);
    });
  });
}

}  // namespace

void backwardCuda(Context& context, const CudaPlan& cuda, const Problem& problem, const Plan& plan, const BackwardRows& rows, const char* op) {
  const PreparedProblem prepared(context, problem, cuda.kernel, op);
  const Problem& p = prepared.problem;
  const Tensor delta = empty(context, computedDType(p.dtype), {p.batch, p.heads, p.queries}, op);
  if (const int64_t n = delta.numel(); n > 0) {
    dispatchStoredFloat(p.dtype, op, [&](auto tag) {
      using Stored = typename decltype(tag)::type;
      const auto blocks = static_cast<unsigned>((n * kWarp + kThreads - 1) / kThreads);
      launch(context, op, deltaKernel<Stored>, blocks, kThreads, p, rows.out, rows.grad, delta.data<Computed<Stored>>());
    });
  }
  if (cuda.kernel == CudaKernel::fragments) return backwardFragments(context, p, plan, rows, delta.data<float>(), op);
  // q carries scale · log2(e), so that exp2 gives the weights.
  const Side queries{p.q, rows.grad, p.scale * kLog2E}, keys{p.k.others, p.v.others, 1};
  pass<true>(context, p, plan.keys, keys, queries, rows.logSumExp, delta.raw(), rows.dk.others, kLn2, rows.dv.others, op);
  pass<false>(context, p, plan.queries, queries, keys, rows.logSumExp, delta.raw(), rows.dq, p.scale, {}, op);
}

}  // namespace md::masked_attention
