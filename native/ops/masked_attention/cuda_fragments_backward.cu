// Backward kernel on matrix units, for f16 and bf16, in the two passes of cuda_backward.cu: own tokens meet those of the other
// side 16 at a time, and what comes of scores and slopes becomes the next products' operand where it is.
#include "cuda_fragments.h"

namespace md::masked_attention {
namespace {

using namespace md::cuda;

/// Two packed rows of each token: of keys k and v, of queries q and the gradient of the output.
struct PackedSide {
  Rows first, second;
};

/// Tokens of one side, which own the sums, meet those of the other. Keys: dFirst is dk and dSecond dv; else dFirst is dq.
template <class S, int D, bool Keys>
__global__ void __launch_bounds__(FragmentShape<D>::threads)
    backwardFragmentsKernel(Problem p, const Item* __restrict__ items, const Block* __restrict__ blocks, PackedSide own, PackedSide other,
                            const float* __restrict__ logSumExp, const float* __restrict__ delta, Rows dFirst, Rows dSecond) {
  using Shape = FragmentShape<D>;
  MD_SHARED(S, tiles, [2][2][Shape::tile][Shape::pitch]);  // by stage: both rows of the other side's tokens
  const Part part = partOf<Shape>(items, blocks, p.heads);
  if (part.rows <= 0) return;
  const LaneRows rows(part);
  const int64_t batch = part.batch, head = part.head, firstQuery = (batch * p.heads + head) * p.queries;
  const float scale = static_cast<float>(p.scale * kLog2E);
  FragmentA<S> ownFirst[Shape::steps], ownSecond[Shape::steps];
  loadRows(ownFirst, own.first, rows, p.headDim);
  loadRows(ownSecond, own.second, rows, p.headDim);

  Accumulator sumFirst[Shape::steps] = {}, sumSecond[Keys ? Shape::steps : 1] = {};
  // From the products of row i with the other side's token to what its rows are multiplied by.
  const auto weigh = [&](int i, int64_t token, float& score, float& slope) {
    const int64_t query = Keys ? token : rows.token[i], key = Keys ? rows.token[i] : token;
    if (!allows(p.predicate, batch, head, query, key)) {
      score = slope = 0;
      return;
    }
    const float weight = std::exp2(score * scale - logSumExp[firstQuery + query]), keep = keepOf<float>(p, batch, head, query, key);
    score = weight * keep;
    slope = weight * (keep * slope - delta[firstQuery + query]);
  };

  // Straight from memory: no other sample's values enter a row's arithmetic.
  const int64_t ownTokens = part.block.ownTokens;
  for (int64_t t = 0; t < ownTokens && !rows.idle; t++) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int64_t token = rows.token[i] / ownTokens * ownTokens + t;
      const S* const first = other.first.at<S>(batch, head, token);
      const S* const second = other.second.at<S>(batch, head, token);
      float score = dotOf(ownFirst, i, first, p.headDim), slope = dotOf(ownSecond, i, second, p.headDim);
      weigh(i, token, score, slope);
      if constexpr (Keys) addRow(sumSecond, i, score, second, p.headDim);
      addRow(sumFirst, i, slope, first, p.headDim);
    }
  }

  eachTile<Shape::tile>(
      part.block,
      [&](int stage, int64_t from, int64_t n) {
        requestTile(tiles[stage][0], other.first, batch, head, from, n, p.headDim);
        requestTile(tiles[stage][1], other.second, batch, head, from, n, p.headDim);
      },
      [&](int stage, int64_t from, int64_t n) {
        if (rows.idle) return;
        for (int begin = 0; begin < n; begin += kFragment) {
          Accumulator scores = meetTokens(ownFirst, tiles[stage][0], begin, p.headDim), slopes = meetTokens(ownSecond, tiles[stage][1], begin, p.headDim);
#pragma unroll
          for (int half = 0; half < 2; half++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
              const int j = begin + Accumulator::column(half, e);
              if (j < n) {
                weigh(e / 2, from + j, scores.x[half][e], slopes.x[half][e]);
              } else {
                scores.x[half][e] = slopes.x[half][e] = 0;
              }
            }
          }
          if constexpr (Keys) addTokens(sumSecond, rounded<S>(scores), tiles[stage][1], begin, p.headDim);
          addTokens(sumFirst, rounded<S>(slopes), tiles[stage][0], begin, p.headDim);
        }
      });

  for (int i = 0; i < 2; i++) {
    if (!rows.there[i]) continue;
    storeRow(sumFirst, i, static_cast<float>(p.scale), dFirst.at<S>(batch, head, rows.token[i]), p.headDim);
    if constexpr (Keys) storeRow(sumSecond, i, 1, dSecond.at<S>(batch, head, rows.token[i]), p.headDim);
  }
}

template <bool Keys>
void pass(Context& context, const Problem& p, const BlockList& list, const PackedSide& own, const PackedSide& other, const void* logSumExp,
          const float* delta, const Rows& dFirst, const Rows& dSecond, const char* op) {
  const DeviceBlocks blocks(context, list, op);
  if (blocks.count * p.heads == 0) return;
  dispatchHalf(p.dtype, [&](auto tag) {
    using S = typename decltype(tag)::type;
    withFragmentDim(p.headDim, [&](auto depth) {
      using Shape = FragmentShape<depth()>;
      launch(context, op, backwardFragmentsKernel<S, depth(), Keys>, blocks.grid<Shape>(p.heads), Shape::threads, p, blocks.itemData(),
             blocks.blockData(), own, other, static_cast<const float*>(logSumExp), delta, dFirst, dSecond);
    });
  });
}

}  // namespace

void backwardFragments(Context& context, const Problem& p, const Plan& plan, const BackwardRows& rows, const float* delta, const char* op) {
  Rows grad = rows.grad;
  const Tensor packedGrad = packRows(context, p, grad, p.queries, op);
  const PackedSide queries{p.q, grad}, keys{p.k.others, p.v.others};
  pass<true>(context, p, plan.keys, keys, queries, rows.logSumExp, delta, rows.dk.others, rows.dv.others, op);
  pass<false>(context, p, plan.queries, queries, keys, rows.logSumExp, delta, rows.dq, {}, op);
}

}  // namespace md::masked_attention
