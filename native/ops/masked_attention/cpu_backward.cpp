// Backward kernel: the weights are recomputed block by block from the saved log-sum-exp. Vector lanes are keys; a thread
// walks key blocks of one head after another, so every sum has one owner and one order.
#include <cmath>
#include <limits>

#include "../../isa/pack.h"
#include "dropout.h"
#include "kernels.h"
#include "prepare.h"
#include "tile.h"

namespace md::masked_attention::MD_ISA {
namespace {

constexpr int64_t kQueriesAtOnce = 48;
constexpr double kLog2E = 1.44269504088896340736;
constexpr double kLn2 = 0.69314718055994530942;

/// State of one head of one segment and the buffers of one thread. Rows of queries are those of the segment.
template <class T>
struct HeadBackward {
  static constexpr int width = Vec<T>::width;
  static constexpr int lanes = 2 * width;
  static constexpr int kKeyVectors = kKeyBlock / width;

  const BackwardProblem& problem;
  int64_t depth;   // head size
  int64_t padded;  // head size in whole vectors
  T* q;            // [tokens][D], scaled so that the softmax is in base 2
  T* grad;         // [tokens][D]
  T* delta;        // [tokens]: Σ_d grad · out
  T* dq;           // [tokens][padded]
  T* k;            // [kKeyBlock][padded]
  T* kT;           // [D][kKeyBlock]
  T* vT;
  T* dkT;
  T* dvT;
  T* weights;  // [kQueriesAtOnce][kKeyBlock]
  T* dScores;
  T* keep;     // [kQueriesAtOnce][kKeyBlock]: what dropout multiplies weights by
  T* ownRows;  // [2][D]: dk and dv of one key
  T* columns;  // of rows being prepared
  const T* logSumExp = nullptr;
  int64_t batch = 0, head = 0, firstQuery = 0;
  const uint8_t* headMask = nullptr;

  static int64_t workspace(const BackwardProblem& p) {
    const int64_t padded = roundUp(p.headDim, width);
    return p.blocks.mostTokens * (2 * p.headDim + 1 + padded) + kKeyBlock * (padded + 4 * p.headDim) +
           3 * kQueriesAtOnce * kKeyBlock + 2 * p.headDim + Preparer<T>::elementsOf(p.headDim);
  }

  HeadBackward(const BackwardProblem& p, T* space) : problem(p), depth(p.headDim), padded(roundUp(p.headDim, width)) {
    const int64_t tokens = p.blocks.mostTokens;
    q = space;
    grad = q + tokens * depth;
    delta = grad + tokens * depth;
    dq = delta + tokens;
    k = dq + tokens * padded;
    kT = k + kKeyBlock * padded;
    vT = kT + kKeyBlock * depth;
    dkT = vT + kKeyBlock * depth;
    dvT = dkT + kKeyBlock * depth;
    weights = dvT + kKeyBlock * depth;
    dScores = weights + kQueriesAtOnce * kKeyBlock;
    keep = dScores + kQueriesAtOnce * kKeyBlock;
    ownRows = keep + kQueriesAtOnce * kKeyBlock;
    columns = ownRows + 2 * depth;
  }

  void enter(const Segment& segment, int64_t h) {
    batch = segment.batch;
    head = h;
    firstQuery = segment.begin;
    const Predicate& predicate = problem.predicate;
    headMask = predicate.dense + batch * predicate.stride[0] + h * predicate.stride[1];
    logSumExp = static_cast<const T*>(problem.logSumExp) + (batch * problem.heads + h) * problem.queries + firstQuery;
    const int64_t tokens = segment.tokens();
    Preparer<T>{problem.prepareQ, depth, columns}.rows(problem.q, batch, h, firstQuery, tokens, q, depth, static_cast<T>(problem.scale * kLog2E));
    for (int64_t first = 0; first < tokens; first += width) {
      Vec<T> products[width];
      for (int64_t r = 0; r < width; r++) products[r] = first + r < tokens ? takeGrad(first + r) : Vec<T>::zero();
      const Vec<T> sums = sumsOf(products);
      if (first + width <= tokens) {
        sums.store(delta + first);
      } else {
        sums.storePart(delta + first, static_cast<int>(tokens - first));
      }
    }
    std::memset(dq, 0, static_cast<size_t>(segment.tokens() * padded) * sizeof(T));
  }

  /// Copies the cotangent of the segment's query i; its product with the output, to be summed up.
  Vec<T> takeGrad(int64_t i) {
    const int64_t token = firstQuery + i;
    const T* g = problem.grad.at<T>(batch, head, token);
    const T* out = problem.out.at<T>(batch, head, token);
    problem.grad.expectNext(g, depth);
    problem.out.expectNext(out, depth);
    problem.dq.expectNext(problem.dq.at<T>(batch, head, token), depth);
    Vec<T> product = Vec<T>::zero();
    eachVector<T>(depth, [&](int64_t d, auto lanes) {
      const Vec<T> x = loadLanes(g + d, lanes);
      storeLanes(x, grad + i * depth + d, lanes);
      product = fma(x, loadLanes(out + d, lanes), product);
    });
    return product;
  }

  /// dq of this segment into rows of `step` elements.
  void leave(const Segment& segment, T* to, int64_t step) {
    const T scale = static_cast<T>(problem.scale);
    for (int64_t i = 0; i < segment.tokens(); i++) scaleRow(dq + i * padded, scale, to + i * step, depth);
  }

  void loadKeys(const Block& block) {
    const int64_t live = block.end - block.begin;
    std::memset(k, 0, static_cast<size_t>(kKeyBlock * padded) * sizeof(T));
    Preparer<T>{problem.prepareK, depth, columns}.rows(problem.k.of(block.begin), batch, head, block.begin, live, k, padded, T(1));
    const Rows& values = problem.v.of(block.begin);
    for (const Rows* rows : {&values, &problem.dk.of(block.begin), &problem.dv.of(block.begin)}) {
      for (int64_t token = block.begin; token < block.end; token++) rows->expectNext(rows->at<T>(batch, head, token), depth);
    }
    md::MD_ISA::packPanel<kKeyVectors>(k, 1, padded, depth, live, kT);
    md::MD_ISA::packPanel<kKeyVectors>(values.at<T>(batch, head, block.begin), 1, values.token, depth, live, vT);
    std::memset(dkT, 0, static_cast<size_t>(kKeyBlock * depth) * sizeof(T));
    std::memset(dvT, 0, static_cast<size_t>(kKeyBlock * depth) * sizeof(T));
  }

  void storeKeys(const Block& block) {
    const T unscale = static_cast<T>(kLn2);  // q carries scale · log2(e)
    storeTransposed(dkT, unscale, block, problem.dk.of(block.begin));
    storeTransposed(dvT, T(1), block, problem.dv.of(block.begin));
  }

  void storeTransposed(const T* from, T scale, const Block& block, const Rows& to) {
    alignas(64) T rowParts[kKeyBlock * width];
    const Vec<T> factor = Vec<T>::set(scale);
    eachVector<T>(depth, [&](int64_t d, auto lanes) {
      md::MD_ISA::packPanel<1>(from + d * kKeyBlock, 1, kKeyBlock, block.end - block.begin, depth - d, rowParts);
      for (int64_t j = 0; j < block.end - block.begin; j++)
        storeLanes(Vec<T>::load(rowParts + j * width) * factor, to.at<T>(batch, head, block.begin + j) + d, lanes);
    });
  }

  /// What queries [from, from + n), counted from the segment's first, add to dk, dv and dq.
  void meet(const Block& block, int64_t from, int64_t n) {
    const int64_t keys = block.end - block.begin, keyLanes = roundUp(keys, lanes);
    const Coverage covered = coverage(problem.predicate, headMask, firstQuery + from, n, block.begin, keys);
    if (covered == Coverage::none) return;
    forTiles<2>(n, [&](int64_t row, auto size) {
      for (int64_t lane = 0; lane < keyLanes; lane += lanes) {
        Tile<T, size(), 2> tile;
        tile.clear();
        tile.multiply(depth, q + (from + row) * depth, depth, 1, kT + lane, kKeyBlock);
        tile.store(weights + row * kKeyBlock + lane, kKeyBlock);
      }
    });
    if (covered == Coverage::some) ruleOut(problem.predicate, headMask, firstQuery + from, n, block.begin, keys, weights, kKeyBlock, 1);
    const bool drops = problem.dropout.on();
    if (drops) {
      for (int64_t i = 0; i < n * kKeyBlock; i++) keep[i] = T(1);
      Dropper<T>(problem, batch, head).apply(firstQuery + from, n, block.begin, keys, keep, kKeyBlock, 1);
    }
    if (drops) {
      weigh<true>(from, n, keyLanes);
    } else {
      weigh<false>(from, n, keyLanes);
    }
    forTiles<2>(depth, [&](int64_t d, auto size) {
      for (int64_t lane = 0; lane < keyLanes; lane += lanes) {
        addProduct<size(), 2>(dvT + d * kKeyBlock + lane, kKeyBlock, n, grad + from * depth + d, 1, depth, weights + lane, kKeyBlock);
        addProduct<size(), 2>(dkT + d * kKeyBlock + lane, kKeyBlock, n, q + from * depth + d, 1, depth, dScores + lane, kKeyBlock);
      }
    });
    // Lanes are channels here: three vectors a row where that leaves none over, else two.
    for (int64_t d = 0; d < padded;) {
      const int64_t vectors = (padded - d) / width;
      if (vectors == 3 || vectors >= 5) {
        forTiles<3>(n, [&](int64_t row, auto size) { addQueries<size(), 3>(from, row, d, keys); });
        d += 3 * width;
      } else if (vectors >= 2) {
        forTiles<2>(n, [&](int64_t row, auto size) { addQueries<size(), 2>(from, row, d, keys); });
        d += 2 * width;
      } else {
        forTiles<1>(n, [&](int64_t row, auto size) { addQueries<size(), 1>(from, row, d, keys); });
        d += width;
      }
    }
  }

  /// Scores become weights, and dScores the gradients of the scores.
  template <bool Drops>
  void weigh(int64_t from, int64_t n, int64_t keyLanes) {
    forTiles<2>(n, [&](int64_t row, auto size) {
      constexpr int R = size();
      for (int64_t lane = 0; lane < keyLanes; lane += lanes) {
        Tile<T, R, 2> tile;
        tile.clear();
        tile.multiply(depth, grad + (from + row) * depth, depth, 1, vT + lane, kKeyBlock);
        T* const toWeights = weights + row * kKeyBlock + lane;
        T* const toScores = dScores + row * kKeyBlock + lane;
        const T* const kept = keep + row * kKeyBlock + lane;
        const T *const totals = logSumExp + from + row, *const means = delta + from + row;
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) {
          const Vec<T> total = Vec<T>::set(totals[r]), mean = Vec<T>::set(means[r]);
#pragma GCC unroll 2
          for (int half = 0; half < 2; half++) {
            const int64_t at = r * kKeyBlock + half * width;
            const Vec<T> p = exp2NonPositive(Vec<T>::load(toWeights + at) - total);
            if constexpr (Drops) {
              const Vec<T> factor = Vec<T>::load(kept + at);
              (p * factor).store(toWeights + at);
              (p * (tile.acc[r][half] * factor - mean)).store(toScores + at);
            } else {
              p.store(toWeights + at);
              (p * (tile.acc[r][half] - mean)).store(toScores + at);
            }
          }
        }
      }
    });
  }

  template <int R, int V>
  void addProduct(T* c, int64_t cRow, int64_t n, const T* a, int64_t aRow, int64_t aStep, const T* b, int64_t bStep) {
    Tile<T, R, V> tile;
    tile.load(c, cRow);
    tile.multiply(n, a, aRow, aStep, b, bStep);
    tile.store(c, cRow);
  }
  template <int R, int V>
  void addQueries(int64_t from, int64_t row, int64_t d, int64_t keys) {
    addProduct<R, V>(dq + (from + row) * padded + d, padded, keys, dScores + row * kKeyBlock, kKeyBlock, 1, k + d, padded);
  }

  /// Keys of samples shorter than a vector meet the queries of their own sample one by one.
  void meetOwn(const Block& block) {
    const int64_t own = block.ownTokens;
    T* dkRow = ownRows;
    T* dvRow = dkRow + depth;
    for (int64_t j = 0; j < block.end - block.begin; j++) {
      const T* key = k + j * padded;
      const T* value = problem.v.of(block.begin).at<T>(batch, head, block.begin + j);
      const int64_t first = (block.begin + j) / own * own - firstQuery;
      std::memset(dkRow, 0, static_cast<size_t>(2 * depth) * sizeof(T));
      for (int64_t i = first; i < first + own; i++) {
        const T weight = std::exp2(dot(q + i * depth, key, depth) - logSumExp[i]);
        T kept = T(1);
        if (problem.dropout.on()) Dropper<T>(problem, batch, head).apply(firstQuery + i, 1, block.begin + j, 1, &kept, 0, 0);
        const T dScore = weight * (kept * dot(grad + i * depth, value, depth) - delta[i]);
        addScaled(dvRow, weight * kept, grad + i * depth, depth);
        addScaled(dkRow, dScore, q + i * depth, depth);
        addScaled(dq + i * padded, dScore, key, depth);
      }
      for (int64_t d = 0; d < depth; d++) {
        dkT[d * kKeyBlock + j] = dkRow[d];
        dvT[d * kKeyBlock + j] = dvRow[d];
      }
    }
  }

  void run(const Block& block) {
    loadKeys(block);
    if (block.ownTokens > 0) meetOwn(block);  // first: dk and dv are still 0
    for (int range = 0; range < 2; range++) {
      for (int64_t from = block.rangeBegin[range]; from < block.rangeEnd[range]; from += kQueriesAtOnce) {
        const int64_t left = block.rangeEnd[range] - from;
        meet(block, from - firstQuery, left < kQueriesAtOnce ? left : kQueriesAtOnce);
      }
    }
    storeKeys(block);
  }
};

}  // namespace

int64_t backwardWorkspace(const BackwardProblem& problem) {
  return withType(problem.dtype, [&](auto tag) {
    return HeadBackward<typename decltype(tag)::type>::workspace(problem);
  });
}

void backwardPart(const BackwardProblem& problem, Cut begin, Cut end, void* workspace, void* shared) {
  withType(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    HeadBackward<T> state(problem, static_cast<T*>(workspace));
    for (int64_t unit = begin.unit; unit < problem.blocks.count * problem.heads && unit <= end.unit; unit++) {
      const Segment& segment = problem.blocks.segments[unit / problem.heads];
      const bool inside = unit == begin.unit && begin.block > 0;
      const int64_t first = inside ? begin.block : 0, last = unit == end.unit ? end.block : segment.blocks();
      if (unit == end.unit && end.block == 0) break;
      const int64_t head = unit % problem.heads;
      state.enter(segment, head);
      for (int64_t i = first; i < last; i++) state.run(problem.blocks.blocks[segment.firstBlock + i]);
      if (inside) {
        state.leave(segment, static_cast<T*>(shared), problem.headDim);
      } else {
        state.leave(segment, problem.dq.at<T>(segment.batch, head, segment.begin), problem.dq.token);
      }
    }
  });
}

int64_t prepareGradScratch(DType dtype, int64_t headDim) {
  return withType(dtype, [&](auto tag) {
    using Prepare = Preparer<typename decltype(tag)::type>;
    return 2 * Prepare::elementsOf(headDim) + Prepare::gradElements(headDim);
  });
}

void prepareGradRows(DType dtype, int64_t headDim, int64_t heads, int64_t tokens, const Preparation& preparation, const Rows& x,
                     const Rows& grad, int64_t begin, int64_t end, void* affine, void* scratch) {
  withType(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr int width = Vec<T>::width;
    const int64_t elements = Preparer<T>::elementsOf(headDim);
    T* const columns = static_cast<T*>(scratch);  // of the weight's gradient, then of the bias's
    const Preparer<T> prepare{preparation, headDim, nullptr};
    std::memset(columns, 0, static_cast<size_t>(2 * elements) * sizeof(T));
    for (int64_t first = begin; first < end; first += width) {
      const int64_t count = end - first < width ? end - first : width;
      const T* xRows[width];
      T* gradRows[width];
      int64_t batch[width], token[width];
      for (int64_t r = 0; r < width; r++) {
        const int64_t row = first + (r < count ? r : 0), head = row % heads;
        batch[r] = row / heads / tokens;
        token[r] = row / heads % tokens;
        xRows[r] = x.at<T>(batch[r], head, token[r]);
        gradRows[r] = grad.at<T>(batch[r], head, token[r]);
      }
      prepare.grad(xRows, gradRows, count, batch, token, columns, columns + elements, columns + 2 * elements);
    }
    T* const sums = static_cast<T*>(affine);
    for (int64_t d = 0; d < headDim; d++) {
      sums[d] = Vec<T>::load(columns + d * width).sum();
      sums[headDim + d] = Vec<T>::load(columns + elements + d * width).sum();
    }
  });
}

void addShared(const BackwardProblem& problem, int64_t unit, const void* shared) {
  const Segment& segment = problem.blocks.segments[unit / problem.heads];
  withType(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* from = static_cast<const T*>(shared);
    for (int64_t i = 0; i < segment.tokens(); i++) {
      T* to = problem.dq.at<T>(segment.batch, unit % problem.heads, segment.begin + i);
      for (int64_t d = 0; d < problem.headDim; d++) to[d] += from[i * problem.headDim + d];
    }
  });
}

}  // namespace md::masked_attention::MD_ISA
