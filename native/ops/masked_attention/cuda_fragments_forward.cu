// Forward kernel on matrix units, for f16 and bf16 (Dao, "FlashAttention-2", 2023): scores and sums stay in registers, and
// weights become the next product's operand where they are. Each row has a softmax of its own.
#include "cuda_fragments.h"

namespace md::masked_attention {
namespace {

using namespace md::cuda;

template <class S, int D>
__global__ void __launch_bounds__(FragmentShape<D>::threads)
    forwardFragmentsKernel(Problem p, const Item* __restrict__ items, const Block* __restrict__ blocks, Rows out, float* __restrict__ logSumExp) {
  using Shape = FragmentShape<D>;
  constexpr int groups = Shape::tile / kFragment;
  MD_SHARED(S, tiles, [2][2][Shape::tile][Shape::pitch]);  // by stage: keys and their values
  const Part part = partOf<Shape>(items, blocks, p.heads);
  if (part.rows <= 0) return;
  const LaneRows own(part);
  const int64_t batch = part.batch, head = part.head;
  const float scale = static_cast<float>(p.scale * kLog2E);
  FragmentA<S> queries[Shape::steps];
  loadRows(queries, p.q, own, p.headDim);

  Accumulator sums[Shape::steps] = {};
  // Finite: lowest - lowest is 0 where nothing was attended yet.
  float most[2] = {std::numeric_limits<float>::lowest(), std::numeric_limits<float>::lowest()}, total[2] = {};
  // Row i has met scores up to `now`: what it has summed so far shrinks.
  const auto raise = [&](int i, float now) {
    const float decay = std::exp2(most[i] - now);
    most[i] = now;
    total[i] *= decay;
#pragma unroll
    for (int step = 0; step < Shape::steps; step++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        for (int e = 0; e < 2; e++) sums[step].x[half][2 * i + e] *= decay;
      }
    }
  };

  // A row meets the tokens of its own sample straight from memory: no other sample's values enter its arithmetic.
  const int64_t ownTokens = part.block.ownTokens;
  for (int64_t t = 0; t < ownTokens && !own.idle; t++) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int64_t key = own.token[i] / ownTokens * ownTokens + t;
      const float dot = dotOf(queries, i, p.k.others.at<S>(batch, head, key), p.headDim);
      const float score = allows(p.predicate, batch, head, own.token[i], key) ? dot * scale : -std::numeric_limits<float>::infinity();
      raise(i, Larger()(most[i], score));
      const float weight = std::exp2(score - most[i]);
      total[i] += weight;
      addRow(sums, i, weight * keepOf<float>(p, batch, head, own.token[i], key), p.v.others.at<S>(batch, head, key), p.headDim);
    }
  }

  eachTile<Shape::tile>(
      part.block,
      [&](int stage, int64_t from, int64_t n) {
        requestTile(tiles[stage][0], p.k.others, batch, head, from, n, p.headDim);
        requestTile(tiles[stage][1], p.v.others, batch, head, from, n, p.headDim);
      },
      [&](int stage, int64_t from, int64_t n) {
        if (own.idle) return;
        Accumulator scores[groups];
        float now[2] = {most[0], most[1]};
#pragma unroll
        for (int group = 0; group < groups; group++) {
          if (group * kFragment >= n) break;
          scores[group] = meetTokens(queries, tiles[stage][0], group * kFragment, p.headDim);
#pragma unroll
          for (int half = 0; half < 2; half++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
              float& score = scores[group].x[half][e];
              const int j = group * kFragment + Accumulator::column(half, e);
              const bool met = j < n && allows(p.predicate, batch, head, own.token[e / 2], from + j);
              score = met ? score * scale : -std::numeric_limits<float>::infinity();
              now[e / 2] = Larger()(now[e / 2], score);
            }
          }
        }
        for (int i = 0; i < 2; i++) raise(i, rowReduce<4>(now[i], Larger()));
        float sum[2] = {};
#pragma unroll
        for (int group = 0; group < groups; group++) {
          if (group * kFragment >= n) break;
#pragma unroll
          for (int half = 0; half < 2; half++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
              float& weight = scores[group].x[half][e];
              weight = std::exp2(weight - most[e / 2]);
              sum[e / 2] += weight;
              const int j = group * kFragment + Accumulator::column(half, e);
              if (p.dropout.on() && j < n) weight *= keepOf<float>(p, batch, head, own.token[e / 2], from + j);
            }
          }
          addTokens(sums, rounded<S>(scores[group]), tiles[stage][1], group * kFragment, p.headDim);
        }
        for (int i = 0; i < 2; i++) total[i] += rowReduce<4>(sum[i], Add());
      });

  for (int i = 0; i < 2; i++) {
    if (!own.there[i]) continue;
    const bool none = total[i] == 0;
    storeRow(sums, i, none ? 0 : 1 / total[i], out.at<S>(batch, head, own.token[i]), p.headDim);
    if (threadIdx.x % 4 != 0) continue;
    logSumExp[(batch * p.heads + head) * p.queries + own.token[i]] =
        none ? std::numeric_limits<float>::infinity() : most[i] + std::log2(total[i]);
  }
}

}  // namespace

void forwardFragments(Context& context, const Problem& problem, const DeviceBlocks& list, const Rows& out, float* logSumExp, const char* op) {
  dispatchHalf(problem.dtype, [&](auto tag) {
    using S = typename decltype(tag)::type;
    withFragmentDim(problem.headDim, [&](auto depth) {
      using Shape = FragmentShape<depth()>;
      launch(context, op, forwardFragmentsKernel<S, depth()>, list.grid<Shape>(problem.heads), Shape::threads, problem, list.itemData(),
             list.blockData(), out, logSumExp);
    });
  });
}

}  // namespace md::masked_attention
