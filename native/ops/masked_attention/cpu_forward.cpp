// Forward kernel. Vector lanes are queries: a query's arithmetic never sees another query's values, its softmax needs no
// sums across lanes, and no lane is wasted whatever the head size. A query that is alone in its block has keys and channels
// for lanes instead.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "../../isa/pack.h"
#include "dropout.h"
#include "kernels.h"
#include "prepare.h"
#include "tile.h"

namespace md::masked_attention::MD_ISA {
namespace {

constexpr int64_t kKeysAtOnce = 128;
constexpr double kLog2E = 1.44269504088896340736;

/// State of one head of one segment and the buffers of one thread.
template <class T>
struct HeadForward {
  static constexpr int width = Vec<T>::width;
  static constexpr int lanes = 2 * width;  // queries of one strip

  const ForwardProblem& problem;
  int64_t depth;  // head size
  T* packedK;
  T* packedV;
  T* queries;  // [strips][D][lanes], scaled so that the softmax is in base 2
  T* sums;     // [strips][D][lanes]
  T* most;     // [strips][lanes]: the largest score so far
  T* total;    // [strips][lanes]: the denominator so far
  T* scores;   // [kKeysAtOnce][lanes]
  T* ownSum;   // [D]
  T* rows;     // [kQueryBlock][D]: the queries once more, row by row
  T* columns;  // of rows being prepared
  const T* k = nullptr;
  const T* v = nullptr;
  int64_t kStep = 0, vStep = 0;
  bool packed = false;
  int64_t batch = 0, head = 0;
  const uint8_t* headMask = nullptr;

  static int64_t workspace(const ForwardProblem& p) {
    return 2 * p.mostPacked * p.headDim + 3 * kQueryBlock * p.headDim + 2 * kQueryBlock + kKeysAtOnce * lanes + p.headDim +
           Preparer<T>::elementsOf(p.headDim);
  }

  HeadForward(const ForwardProblem& p, T* space) : problem(p), depth(p.headDim) {
    packedK = space;
    packedV = packedK + p.mostPacked * depth;
    queries = packedV + p.mostPacked * depth;
    sums = queries + kQueryBlock * depth;
    most = sums + kQueryBlock * depth;
    total = most + kQueryBlock;
    scores = total + kQueryBlock;
    ownSum = scores + kKeysAtOnce * lanes;
    rows = ownSum + depth;
    columns = rows + kQueryBlock * depth;
  }

  void enter(const Segment& segment, int64_t h) {
    batch = segment.batch;
    head = h;
    const Predicate& predicate = problem.predicate;
    headMask = predicate.dense + batch * predicate.stride[0] + h * predicate.stride[1];
    packed = segment.blocks() >= problem.blocksToPack;
    if (!packed) return;
    const int64_t cut = std::clamp(problem.k.apart, segment.begin, segment.end);
    for (const auto& [begin, end] : {std::pair{segment.begin, cut}, {cut, segment.end}}) {
      const int64_t to = (begin - segment.begin) * depth;
      Preparer<T>{problem.prepareK, depth, columns}.rows(problem.k.of(begin), batch, h, begin, end - begin, packedK + to, depth, T(1));
      const Rows& values = problem.v.of(begin);
      for (int64_t j = 0; j < end - begin; j++) {
        const T* value = values.at<T>(batch, h, begin + j);
        values.expectNext(value, depth);
        copyRow(value, packedV + to + j * depth, depth);
      }
    }
    k = packedK - segment.begin * depth;
    v = packedV - segment.begin * depth;
    kStep = vStep = depth;
  }

  /// Has keys and values where those around `token` are, which a range of keys does not leave.
  void reach(int64_t token) {
    if (packed) return;
    const Rows &keys = problem.k.of(token), &values = problem.v.of(token);
    k = keys.at<T>(batch, head, 0);
    v = values.at<T>(batch, head, 0);
    kStep = keys.token;
    vStep = values.token;
  }

  /// The prepared queries of a head, row by row.
  void loadRows(const Block& block, int64_t h, T* to) const {
    const T scale = static_cast<T>(problem.scale * kLog2E);
    const int64_t live = block.end - block.begin;
    Preparer<T>{problem.prepareQ, depth, columns}.rows(problem.q, batch, h, block.begin, live, to, depth, scale);
    for (int64_t i = 0; i < live; i++) problem.out.expectNext(problem.out.at<T>(batch, h, block.begin + i), depth);
  }

  void loadQueries(const Block& block) {
    loadRows(block, head, rows);
    const int64_t live = block.end - block.begin;
    for (int64_t i = 0; i < live; i += lanes) md::MD_ISA::packPanel<2>(rows + i * depth, 1, depth, depth, live - i, queries + i * depth);
    std::memset(sums, 0, static_cast<size_t>(kQueryBlock * depth) * sizeof(T));
    for (int64_t i = 0; i < kQueryBlock; i++) {
      most[i] = std::numeric_limits<T>::lowest();  // finite: lowest - lowest is 0 where nothing was attended yet
      total[i] = T(0);
    }
  }

  int64_t live(const Block& block, int64_t strip) const {
    const int64_t left = block.end - block.begin - strip * lanes;
    return left < lanes ? left : lanes;
  }

  /// Scores of keys [from, from + n) for the first V vectors of one strip; false, and nothing computed, where the
  /// predicate rules out all.
  template <int V>
  bool score(const Block& block, int64_t strip, int64_t from, int64_t n) {
    const int64_t first = block.begin + strip * lanes, queriesHere = live(block, strip);
    const Coverage covered = coverage(problem.predicate, headMask, first, queriesHere, from, n);
    if (covered == Coverage::none) return false;
    const T* q = queries + strip * lanes * depth;
    forTiles<V>(n, [&](int64_t row, auto size) {
      Tile<T, size(), V> tile;
      tile.clear();
      tile.multiply(depth, k + (from + row) * kStep, kStep, 1, q, lanes);
      tile.store(scores + row * lanes, lanes);
    });
    if (covered == Coverage::some) ruleOut(problem.predicate, headMask, first, queriesHere, from, n, scores, 1, lanes);
    return true;
  }

  /// Turns n rows of scores into weights and updates the denominator; `decay` is what earlier sums shrink by.
  template <int V>
  void softmaxStep(int64_t strip, int64_t n, Vec<T> (&decay)[V]) {
    T* mostHere = most + strip * lanes;
    T* totalHere = total + strip * lanes;
    Vec<T> before[V], now[V], sum[V];
    for (int part = 0; part < V; part++) {
      before[part] = now[part] = Vec<T>::load(mostHere + part * width);
      sum[part] = Vec<T>::zero();
    }
    for (int64_t j = 0; j < n; j++) {
      for (int part = 0; part < V; part++) now[part] = max(now[part], Vec<T>::load(scores + j * lanes + part * width));
    }
    for (int64_t j = 0; j < n; j++) {
      for (int part = 0; part < V; part++) {
        T* at = scores + j * lanes + part * width;
        const Vec<T> weight = exp2NonPositive(Vec<T>::load(at) - now[part]);
        weight.store(at);
        sum[part] = sum[part] + weight;
      }
    }
    for (int part = 0; part < V; part++) {
      decay[part] = exp2NonPositive(before[part] - now[part]);
      now[part].store(mostHere + part * width);
      fma(Vec<T>::load(totalHere + part * width), decay[part], sum[part]).store(totalHere + part * width);
    }
  }

  template <int V>
  void addValues(int64_t strip, int64_t from, int64_t n, const Vec<T> (&decay)[V]) {
    T* out = sums + strip * lanes * depth;
    forTiles<V>(depth, [&](int64_t d, auto size) {
      Tile<T, size(), V> tile;
      tile.load(out + d * lanes, lanes);
      for (int r = 0; r < size(); r++)
        for (int part = 0; part < V; part++) tile.acc[r][part] = tile.acc[r][part] * decay[part];
      tile.multiply(n, v + from * vStep + d, 1, vStep, scores, lanes);
      tile.store(out + d * lanes, lanes);
    });
  }

  /// One strip, of V vectors that are in use, meets keys [from, from + n).
  template <int V>
  void attend(const Block& block, int64_t strip, int64_t from, int64_t n) {
    if (!score<V>(block, strip, from, n)) return;
    Vec<T> decay[V];
    softmaxStep(strip, n, decay);
    if (problem.dropout.on())
      Dropper<T>(problem, batch, head).apply(block.begin + strip * lanes, live(block, strip), from, n, scores, 1, lanes);
    addValues(strip, from, n, decay);
  }

  /// Each lane meets the `own` tokens of its own sample, and no other sample's values enter its arithmetic.
  void attendOwn(const Block& block, int64_t strip) {
    const int64_t own = block.ownTokens, first = block.begin + strip * lanes, queriesHere = live(block, strip);
    reach(first);
    for (int64_t i = 0; i < lanes; i++) {
      const T* q = rows + (strip * lanes + i) * depth;
      const int64_t sample = (first + i) / own * own;
      for (int64_t j = 0; j < own; j++) scores[j * lanes + i] = i < queriesHere ? dot(q, k + (sample + j) * kStep, depth) : T(0);
    }
    Vec<T> decay[2];
    softmaxStep(strip, own, decay);
    if (problem.dropout.on()) {
      const Dropper<T> dropper(problem, batch, head);
      for (int64_t i = 0; i < queriesHere; i++) dropper.apply(first + i, 1, (first + i) / own * own, own, scores + i, 0, lanes);
    }
    T* out = sums + strip * lanes * depth;
    for (int64_t i = 0; i < queriesHere; i++) {
      std::memset(ownSum, 0, static_cast<size_t>(depth) * sizeof(T));
      for (int64_t j = 0; j < own; j++) addScaled(ownSum, scores[j * lanes + i], v + ((first + i) / own * own + j) * vStep, depth);
      for (int64_t d = 0; d < depth; d++) out[d * lanes + i] = ownSum[d];
    }
  }

  void finish(const Block& block) {
    T* logSumExp = static_cast<T*>(problem.logSumExp) + (batch * problem.heads + head) * problem.queries;
    for (int64_t strip = 0; strip * lanes < block.end - block.begin; strip++) {
      const int64_t first = strip * lanes, queriesHere = live(block, strip);
      T inverse[lanes];
      for (int64_t i = 0; i < queriesHere; i++) {
        const bool none = total[first + i] == T(0);
        inverse[i] = none ? T(0) : T(1) / total[first + i];
        logSumExp[block.begin + first + i] = none ? std::numeric_limits<T>::infinity() : most[first + i] + std::log2(total[first + i]);
      }
      alignas(64) T rowParts[lanes * width];
      eachVector<T>(depth, [&](int64_t d, auto part) {
        md::MD_ISA::packPanel<1>(sums + first * depth + d * lanes, 1, lanes, queriesHere, depth - d, rowParts);
        for (int64_t i = 0; i < queriesHere; i++)
          storeLanes(Vec<T>::load(rowParts + i * width) * Vec<T>::set(inverse[i]), problem.out.at<T>(batch, head, block.begin + first + i) + d, part);
      });
    }
  }

  /// scores[j] = q · key j of n, and -infinity up to whole vectors behind the last.
  void scoreKeys(const T* q, const T* keys, int64_t n) {
    for (int64_t j = 0; j < n; j += width) {
      const T* key[width];
      for (int64_t r = 0; r < width; r++) key[r] = keys + (j + r < n ? j + r : j) * kStep;
      Vec<T> products[width];
      for (Vec<T>& product : products) product = Vec<T>::zero();
      eachVector<T>(depth, [&](int64_t d, auto part) {
        const Vec<T> channels = loadLanes(q + d, part);
#pragma GCC unroll 16
        for (int r = 0; r < width; r++) products[r] = fma(loadLanes(key[r] + d, part), channels, products[r]);
      });
      sumsOf(products).store(scores + j);
    }
    for (int64_t j = n; j % width != 0; j++) scores[j] = -std::numeric_limits<T>::infinity();
  }

  /// What softmaxStep does, for one query of a head.
  T softmaxKeys(int64_t h, int64_t n) {
    Vec<T> largest = Vec<T>::set(most[h]), sum = Vec<T>::zero();
    for (int64_t j = 0; j < n; j += width) largest = max(largest, Vec<T>::load(scores + j));
    const T now = largest.max();
    for (int64_t j = 0; j < n; j += width) {
      const Vec<T> weight = exp2NonPositive(Vec<T>::load(scores + j) - Vec<T>::set(now));
      weight.store(scores + j);
      sum = sum + weight;
    }
    alignas(64) T decay[width];
    exp2NonPositive(Vec<T>::set(most[h] - now)).store(decay);
    most[h] = now;
    total[h] = total[h] * decay[0] + sum.sum();
    return decay[0];
  }

  /// sum = sum · decay + Σ scores[j] · value j of n
  void addRows(const T* values, int64_t n, T decay, T* sum) const {
    constexpr int64_t kChains = 4;  // that do not wait for each other
    eachVector<T>(depth, [&](int64_t d, auto part) {
      Vec<T> acc[kChains] = {loadLanes(sum + d, part) * Vec<T>::set(decay), Vec<T>::zero(), Vec<T>::zero(), Vec<T>::zero()};
      const T* value = values + d;
      int64_t j = 0;
      for (; j + kChains <= n; j += kChains, value += kChains * vStep) {
#pragma GCC unroll 4
        for (int64_t c = 0; c < kChains; c++) acc[c] = fma(Vec<T>::set(scores[j + c]), loadLanes(value + c * vStep, part), acc[c]);
      }
      for (; j < n; j++, value += vStep) acc[0] = fma(Vec<T>::set(scores[j]), loadLanes(value, part), acc[0]);
      storeLanes((acc[0] + acc[1]) + (acc[2] + acc[3]), sum + d, part);
    });
  }

  /// All of a block of one query, in `heads` heads from this one on: keys whose heads lie side by side are read once.
  void runAlone(const Block& block, int64_t heads) {
    const int64_t query = block.begin;
    std::memset(sums, 0, static_cast<size_t>(heads * depth) * sizeof(T));
    for (int64_t h = 0; h < heads; h++) {
      loadRows(block, head + h, rows + h * depth);
      most[h] = std::numeric_limits<T>::lowest();
      total[h] = T(0);
    }
    const int64_t sample = block.ownTokens > 0 ? query / block.ownTokens * block.ownTokens : 0;
    const int64_t begins[] = {sample, block.rangeBegin[0], block.rangeBegin[1]};
    const int64_t ends[] = {sample + block.ownTokens, block.rangeEnd[0], block.rangeEnd[1]};
    for (int range = 0; range < 3; range++) {
      reach(begins[range]);
      for (int64_t from = begins[range]; from < ends[range]; from += kKeysAtOnce) {
        for (int64_t h = 0; h < heads; h++) meetAlone(query, h, from, std::min(ends[range] - from, kKeysAtOnce));
      }
    }
    for (int64_t h = 0; h < heads; h++) {
      const bool none = total[h] == T(0);
      static_cast<T*>(problem.logSumExp)[(batch * problem.heads + head + h) * problem.queries + query] =
          none ? std::numeric_limits<T>::infinity() : most[h] + std::log2(total[h]);
      scaleRow(sums + h * depth, none ? T(0) : T(1) / total[h], problem.out.at<T>(batch, head + h, query), depth);
    }
  }

  /// The one query of head + h meets keys [from, from + n).
  void meetAlone(int64_t query, int64_t h, int64_t from, int64_t n) {
    const Predicate& predicate = problem.predicate;
    const uint8_t* const mask = headMask + h * predicate.stride[1];
    const Coverage covered = coverage(predicate, mask, query, 1, from, n);
    if (covered == Coverage::none) return;
    scoreKeys(rows + h * depth, k + h * problem.k.of(from).head + from * kStep, n);
    if (covered == Coverage::some) ruleOut(predicate, mask, query, 1, from, n, scores, 0, 1);
    const T decay = softmaxKeys(h, n);
    if (problem.dropout.on()) Dropper<T>(problem, batch, head + h).apply(query, 1, from, n, scores, 0, 1);
    addRows(v + h * problem.v.of(from).head + from * vStep, n, decay, sums + h * depth);
  }

  void run(const Block& block) {
    if (block.end - block.begin == 1) return runAlone(block, 1);
    loadQueries(block);
    const int64_t used = (block.end - block.begin + lanes - 1) / lanes;
    if (block.ownTokens > 0) {  // first: the sums are still 0
      for (int64_t strip = 0; strip < used; strip++) attendOwn(block, strip);
    }
    for (int range = 0; range < 2; range++) {
      reach(block.rangeBegin[range]);
      for (int64_t from = block.rangeBegin[range]; from < block.rangeEnd[range]; from += kKeysAtOnce) {
        const int64_t left = block.rangeEnd[range] - from, n = left < kKeysAtOnce ? left : kKeysAtOnce;
        for (int64_t strip = 0; strip < used; strip++) {
          if (live(block, strip) <= width) {
            attend<1>(block, strip, from, n);
          } else {
            attend<2>(block, strip, from, n);
          }
        }
      }
    }
    finish(block);
  }
};

}  // namespace

int64_t forwardWorkspace(const ForwardProblem& problem) {
  return withType(problem.dtype, [&](auto tag) {
    return HeadForward<typename decltype(tag)::type>::workspace(problem);
  });
}

void forwardPart(const ForwardProblem& problem, Cut begin, Cut end, void* workspace) {
  withType(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    HeadForward<T> state(problem, static_cast<T*>(workspace));
    for (int64_t unit = begin.unit; unit < problem.blocks.count * problem.heads && unit <= end.unit; unit++) {
      const Segment& segment = problem.blocks.segments[unit / problem.heads];
      const int64_t first = unit == begin.unit ? begin.block : 0, last = unit == end.unit ? end.block : segment.blocks();
      if (first >= last) continue;
      const int64_t head = unit % problem.heads;
      state.enter(segment, head);
      const Block& block = problem.blocks.blocks[segment.firstBlock];
      if (segment.blocks() == 1 && block.end - block.begin == 1 && !state.packed) {
        const int64_t heads = std::min({problem.heads - head, end.unit - unit, kQueryBlock});
        state.runAlone(block, heads);
        unit += heads - 1;
        continue;
      }
      for (int64_t i = first; i < last; i++) state.run(problem.blocks.blocks[segment.firstBlock + i]);
    }
  });
}

}  // namespace md::masked_attention::MD_ISA
