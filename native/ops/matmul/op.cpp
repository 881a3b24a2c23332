#include "op.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include "../elementwise/op.h"
#include "cuda.h"

namespace md::matmul {
namespace {

constexpr int64_t kWorkPerThread = 1 << 17;  // multiply-adds below which another thread costs more than it brings
constexpr int64_t kSplitDepth = 256;         // shortest part of k worth a partial product of its own
constexpr double kPacking = 3;               // steps that a panel of B or a strip of A takes to be packed
constexpr double kLate = 0.2;                // of a part, that threads are late by
constexpr int64_t kPieces = 4;               // of a thread's last part, so that nobody waits long for it
constexpr int64_t kPieceStrips = 4;          // fewest in such a piece: B is not packed for a few rows

/// How one call is cut: `flat` cuts the strips of all batch items, end to end, into `rows` parts; otherwise every item is cut
/// into rows x cols parts, each of which is a sum of `depths` parts of k.
struct Plan {
  bool flat = true;
  int64_t rows = 1, cols = 1, depths = 1;
};

int64_t divideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Parts that are worth a thread's while.
int64_t partsWorth(const GemmArgs& g, int64_t items, int64_t threads) {
  if (threads == 1) return 1;
  const double work = static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k) * static_cast<double>(items);
  return std::clamp<int64_t>(static_cast<int64_t>(std::min(work / kWorkPerThread, 1024.0)), 1, kPartsPerThread * threads);
}

Plan plan(const GemmArgs& g, int64_t items, int64_t threads) {
  const Tile tile = MD_CALL(gemmTile)(g.dtype);
  const int64_t strips = divideUp(g.m, tile.rows), panels = divideUp(g.n, tile.cols);
  const int64_t parts = partsWorth(g, items, threads);
  if (parts <= 1 || items >= 4 * threads || (items > 1 && items * strips >= 4 * threads && g.m >= g.n)) return {true, parts};
  // The cheapest cut in vector steps: a thread's parts, with the packing that they repeat and what they cost to begin, themselves and
  // their rows; a piece of one more, for which a slow thread is waited for; and the sum over k parts.
  Plan best;
  double bestCost = std::numeric_limits<double>::infinity();
  const int64_t most = divideUp(parts, items);
  for (int64_t rows = 1; rows <= std::min(most, strips); rows++) {
    for (int64_t cols = 1; cols <= std::min(most / rows, panels); cols++) {
      const double high = static_cast<double>(divideUp(strips, rows)), wide = static_cast<double>(divideUp(panels, cols));
      const double step = high * static_cast<double>(tile.rows) * wide + kPacking * (wide + (g.aCol == 1 ? 0 : high));
      for (int64_t depths = 1; depths == 1 || (rows * cols * depths <= most && depths * kSplitDepth <= g.k); depths *= 2) {
        const double part = step * static_cast<double>(divideUp(g.k, depths)) + high * static_cast<double>(tile.rows) + 500;
        const double sums = depths > 1 ? 2000 + static_cast<double>(depths * g.m * g.n) / static_cast<double>(threads) / 2 : 0;
        const double cost = (static_cast<double>(divideUp(items * rows * cols * depths, threads)) + kLate) * part + sums;
        if (cost < bestCost) {
          bestCost = cost;
          best = {false, rows, cols, depths};
        }
      }
    }
  }
  if (items == 1 && best.cols * best.depths == 1) best.flat = true;
  return best;
}

template <class P>
P* advance(P* pointer, int64_t elements, DType dtype) {
  using Byte = std::conditional_t<std::is_const_v<P>, const char, char>;
  return pointer ? static_cast<Byte*>(pointer) + elements * static_cast<int64_t>(itemSize(dtype)) : nullptr;
}

/// Rows [i, i + rows) x columns [j, j + cols) of C.
GemmArgs part(GemmArgs g, int64_t i, int64_t rows, int64_t j, int64_t cols) {
  g.m = rows;
  g.n = cols;
  g.a = advance(g.a, i * g.aRow, g.dtype);
  g.b = advance(g.b, j * g.bCol, g.dtype);
  g.c = advance(g.c, i * g.cRow + j * g.cCol, g.dtype);
  g.derivative = advance(g.derivative, i * g.cRow + j * g.cCol, g.dtype);
  g.residual = advance(g.residual, i * g.cRow + j * g.cCol, g.dtype);
  g.bias = advance(g.bias, i * g.biasRow + j * g.biasCol, g.dtype);
  return g;
}

/// The same product as Cᵀ = Bᵀ Aᵀ.
GemmArgs transposed(const GemmArgs& g) {
  GemmArgs t = g;
  t.m = g.n;
  t.n = g.m;
  t.a = g.b;
  t.aRow = g.bCol;
  t.aCol = g.bRow;
  t.b = g.a;
  t.bRow = g.aCol;
  t.bCol = g.aRow;
  std::swap(t.cRow, t.cCol);
  std::swap(t.biasRow, t.biasCol);
  return t;
}

/// The orientation that fills the register tile: C row-major, unless its few columns are better taken as few rows.
bool wantsTranspose(const GemmArgs& g) {
  const bool fewCols = g.n < MD_CALL(gemmTile)(g.dtype).cols && g.m > g.n;
  return g.cCol == 1 ? fewCols && g.aRow == 1 && g.aCol != 1 : g.cRow == 1;
}

/// Whether Cᵀ fills its tiles so much better that it repays turning it at the end.
bool wantsTurned(const GemmArgs& g) {
  if (g.k < kSplitDepth || g.cCol != 1 || g.cRow != g.n || g.accumulate || g.bias || g.residual || g.activation != Activation::none) return false;
  const int64_t lanes = MD_CALL(gemmTile)(g.dtype).lanes;
  return 20 * g.n * divideUp(g.m, lanes) < 19 * g.m * divideUp(g.n, lanes);
}

/// Drops axes of extent 1 and folds into m those that repeat one B over consecutive rows of A and C.
void fold(GemmArgs& g, Batch& batch) {
  Batch kept;
  for (int axis = 0; axis < batch.shape.rank; axis++) {
    if (batch.shape[axis] == 1) continue;
    kept.shape.push(batch.shape[axis]);
    kept.a.push(batch.a[axis]);
    kept.b.push(batch.b[axis]);
    kept.c.push(batch.c[axis]);
  }
  int& rank = kept.shape.rank;
  while (rank > 0 && kept.b[rank - 1] == 0 && kept.a[rank - 1] == g.m * g.aRow && kept.c[rank - 1] == g.m * g.cRow && (!g.bias || g.biasRow == 0)) {
    g.m *= kept.shape[--rank];
  }
  kept.a.rank = kept.b.rank = kept.c.rank = rank;
  batch = kept;
}

GemmArgs itemAt(GemmArgs g, const Batch& batch, int64_t item) {
  int64_t a = 0, b = 0, c = 0;
  for (int axis = batch.shape.rank - 1; axis >= 0; axis--) {
    const int64_t index = item % batch.shape[axis];
    item /= batch.shape[axis];
    a += index * batch.a[axis];
    b += index * batch.b[axis];
    c += index * batch.c[axis];
  }
  g.a = advance(g.a, a, g.dtype);
  g.b = advance(g.b, b, g.dtype);
  g.c = advance(g.c, c, g.dtype);
  g.derivative = advance(g.derivative, c, g.dtype);
  g.residual = advance(g.residual, c, g.dtype);
  return g;
}

/// A product that is cut and has its memory, for a region; `finish` queues what has to follow it.
struct Work {
  int64_t parts = 0;
  std::function<void(int64_t part, int64_t thread)> task;
  std::function<void()> finish = [] {};
  Tensor scratch;  // of `task`
};

/// Scratch for `threads` threads, a stretch of whole cache lines each.
struct Scratch {
  Tensor tensor;
  int64_t stride;

  Scratch(Context& context, const GemmArgs& largest, int64_t threads, const char* op) : stride(divideUp(MD_CALL(gemmScratch)(largest), 16) * 16) {
    if (stride > 0) tensor = empty(context, largest.dtype, {threads * stride}, op);
  }
  /// (thread) => its stretch, or null where none is needed: for regions that outlast this.
  auto stretches() const {
    return [base = stride > 0 ? tensor.raw() : nullptr, stride = stride, dtype = tensor.dtype](int64_t thread) { return advance(base, thread * stride, dtype); };
  }
};

/// Strips of all items end to end, in equal contiguous stretches.
Work flatWork(Context& context, const GemmArgs& g, const Batch& batch, int64_t items, int64_t wanted, const char* op) {
  const int64_t tileRows = MD_CALL(gemmTile)(g.dtype).rows, threads = context.pool.threads();
  const int64_t strips = divideUp(g.m, tileRows), units = items * strips, parts = std::min(wanted, units);
  const Scratch scratch(context, g, threads, op);
  std::vector<const void*> packed(static_cast<size_t>(threads), nullptr);  // the B that a thread's scratch holds
  const auto run = [=, scratchOf = scratch.stretches(), packed = std::move(packed)](int64_t part, int64_t thread) mutable {
    const void*& held = packed[static_cast<size_t>(thread)];
    int64_t unit = cutAt(units, part, parts, threads);
    const int64_t last = cutAt(units, part + 1, parts, threads);
    while (unit < last) {
      const int64_t item = unit / strips, first = unit % strips, count = std::min(strips - first, last - unit);
      const int64_t i = first * tileRows, rows = std::min(count * tileRows, g.m - i);
      const GemmArgs one = matmul::part(itemAt(g, batch, item), i, rows, 0, g.n);
      held = MD_CALL(gemmSerial)(one, scratchOf(thread), held == one.b) ? one.b : nullptr;
      unit += count;
    }
  };
  return {.parts = parts, .task = run, .scratch = scratch.tensor};
}

/// Every item cut into a grid; where k is cut too, partial products are summed in order afterwards.
Work gridWork(Context& context, const GemmArgs& g, const Batch& batch, int64_t items, const Plan& p, const char* op) {
  const Tile tile = MD_CALL(gemmTile)(g.dtype);
  const int64_t strips = divideUp(g.m, tile.rows), panels = divideUp(g.n, tile.cols), threads = context.pool.threads();
  const int64_t tasks = items * p.rows * p.cols * p.depths;
  Tensor partial;
  if (p.depths > 1) partial = empty(context, g.dtype, {items * p.depths * g.m * g.n}, op);
  void* const sums = p.depths > 1 ? partial.raw() : nullptr;
  const Scratch scratch(context, g, threads, op);
  // A run of tasks a thread, the last of them in pieces; or, of few rows, stretches of k that become shorter.
  const bool even = tasks >= 2 * threads && tasks % threads == 0 && strips >= kPieceStrips * kPieces * p.rows;
  const bool shorter = tasks == p.depths && !even;
  const int64_t runs = even ? threads : 1, pieces = even ? kPieces : 1, last = tasks / runs - 1, parts = runs * (last + pieces);
  std::vector<int64_t> packed(static_cast<size_t>(threads), -1);  // the task whose B a thread's scratch holds
  const auto run = [=, scratchOf = scratch.stretches(), packed = std::move(packed)](int64_t part, int64_t thread) mutable {
    const int64_t own = part % (last + pieces), task = part / (last + pieces) * (last + 1) + std::min(own, last);
    const int64_t piece = std::max<int64_t>(0, own - last), of = own < last ? 1 : pieces;
    const int64_t depthPart = task % p.depths, colPart = task / p.depths % p.cols, rowPart = task / (p.depths * p.cols) % p.rows;
    const int64_t item = task / (p.depths * p.cols * p.rows);
    const int64_t first = strips * rowPart / p.rows, count = strips * (rowPart + 1) / p.rows - first;
    const int64_t i = (first + count * piece / of) * tile.rows, iEnd = std::min(g.m, (first + count * (piece + 1) / of) * tile.rows);
    const int64_t j = panels * colPart / p.cols * tile.cols, jEnd = std::min(g.n, panels * (colPart + 1) / p.cols * tile.cols);
    GemmArgs one = itemAt(g, batch, item);
    if (p.depths > 1) {
      const auto cut = [&](int64_t at) { return shorter ? cutAt(g.k, at, p.depths, threads) : g.k * at / p.depths; };
      const int64_t k = cut(depthPart);
      one.k = cut(depthPart + 1) - k;
      one.a = advance(one.a, k * g.aCol, g.dtype);
      one.b = advance(one.b, k * g.bRow, g.dtype);
      one.c = advance(sums, (item * p.depths + depthPart) * g.m * g.n, g.dtype);
      one.cRow = g.n;
      one.cCol = 1;
      one.alpha = 1;
      one.accumulate = false;
      one.bias = nullptr;
      one.activation = Activation::none;
      one.derivative = nullptr;
      one.residual = nullptr;
    }
    one = matmul::part(one, i, iEnd - i, j, jEnd - j);
    int64_t& held = packed[static_cast<size_t>(thread)];
    held = MD_CALL(gemmSerial)(one, scratchOf(thread), held == task) ? task : -1;
  };
  Work work{.parts = parts, .task = run, .scratch = scratch.tensor};
  if (p.depths > 1) {
    work.finish = [=, &context] {
      for (int64_t item = 0; item < items; item++) {
        const GemmArgs one = itemAt(g, batch, item);
        const void* from = advance(partial.raw(), item * p.depths * g.m * g.n, g.dtype);
        parallelForLater(context.pool, g.m, std::max<int64_t>(1, kWorkPerThread / 8 / (g.n * p.depths)),
                         [=](int64_t begin, int64_t end) { MD_CALL(gemmReduce)(one, from, p.depths, begin, end); });
      }
    };
  }
  return work;
}

/// The work of a product on the CPU, no parts where it is empty.
Work workOf(Context& context, GemmArgs g, Batch batch, const char* op) {
  if (batch.shape.numel() == 1 && wantsTurned(g)) {
    Tensor turned = empty(context, g.dtype, {g.n, g.m}, op);
    void* const c = g.c;
    g = transposed(g);
    g.c = turned.raw();
    g.cRow = g.n;
    g.cCol = 1;
    std::swap(turned.shape[0], turned.shape[1]);
    std::swap(turned.stride[0], turned.stride[1]);
    Work work = workOf(context, g, Batch{}, op);
    work.finish = [=, &context, before = std::move(work.finish)] {
      before();
      copyInto(context, turned, c);
    };
    return work;
  }
  if (wantsTranspose(g)) {
    g = transposed(g);
    std::swap(batch.a, batch.b);
  }
  fold(g, batch);
  const int64_t items = batch.shape.numel();
  if (items == 0 || g.m == 0 || g.n == 0) return {};
  g.dots = MD_CALL(gemmUsesDots)(g);
  const Plan p = plan(g, items, context.pool.threads());
  return p.flat ? flatWork(context, g, batch, items, p.rows, op) : gridWork(context, g, batch, items, p, op);
}

}  // namespace

void gemm(Context& context, const GemmArgs& args, const Batch& over, const char* op) {
  if (context.onCuda()) {
    GemmArgs g = args;
    Batch batch = over;
    fold(g, batch);
    if (batch.shape.numel() > 0 && g.m > 0 && g.n > 0) gemmCuda(context, g, batch, planCuda(context, g, batch), op);
    return;
  }
  const Work work = workOf(context, args, over, op);
  shareOutLater(context.pool, work.parts, work.task);
  work.finish();
}

void gemm(Context& context, const GemmArgs& args, const char* op) { gemm(context, args, Batch{}, op); }

void gemmBoth(Context& context, const GemmArgs& one, const GemmArgs& other, const char* op) {
  if (context.onCuda()) {
    gemm(context, one, op);
    return gemm(context, other, op);
  }
  const Work first = workOf(context, one, Batch{}, op), second = workOf(context, other, Batch{}, op);
  shareOutLater(context.pool, first.parts + second.parts, [parts = first.parts, task = first.task, otherTask = second.task](int64_t part, int64_t thread) {
    part < parts ? task(part, thread) : otherTask(part - parts, thread);
  });
  first.finish();
  second.finish();
}

Tensor matmul(Context& context, const Tensor& a, const Tensor& b, const char* op) {
  requireStoredFloat(a, op, "a");
  requireDType(b, a.dtype, op, "b");
  if (a.rank() == 0 || b.rank() == 0) fail(ErrorKind::shape, op, "shapes ", a.shape.str(), " and ", b.shape.str(), ": expected rank 1 or more");
  const bool vectorA = a.rank() == 1, vectorB = b.rank() == 1;
  GemmArgs g;
  g.dtype = a.dtype;
  g.m = vectorA ? 1 : a.dim(-2);
  g.k = a.dim(-1);
  g.n = vectorB ? 1 : b.dim(-1);
  if (b.dim(vectorB ? -1 : -2) != g.k) {
    fail(ErrorKind::shape, op, "shapes ", a.shape.str(), " and ", b.shape.str(), " do not multiply: b has ", b.dim(vectorB ? -1 : -2), " rows, expected ", g.k);
  }
  const auto lead = [](const Dims& dims) {
    Dims out = dims;
    out.rank = std::max(0, dims.rank - 2);
    return out;
  };
  Batch batch;
  batch.shape = elementwise::broadcastShapes(lead(a.shape), lead(b.shape), op);
  const auto strides = [&](const Tensor& x) {
    Dims out;
    const Dims shape = lead(x.shape);
    for (int axis = 0; axis < batch.shape.rank; axis++) {
      const int own = axis - (batch.shape.rank - shape.rank);
      out.push(own < 0 || shape[own] == 1 ? 0 : x.stride[own]);
    }
    return out;
  };
  batch.a = strides(a);
  batch.b = strides(b);
  Dims shape = batch.shape;
  if (shape.rank + !vectorA + !vectorB > kMaxRank) fail(ErrorKind::shape, op, "shapes ", a.shape.str(), " and ", b.shape.str(), " give more than ", kMaxRank, " axes");
  if (!vectorA) shape.push(g.m);
  if (!vectorB) shape.push(g.n);
  Tensor out = empty(context, a.dtype, shape, op);
  batch.c = contiguousStrides(batch.shape);
  for (int axis = 0; axis < batch.c.rank; axis++) batch.c[axis] *= g.m * g.n;
  g.a = a.raw();
  g.aRow = vectorA ? 0 : a.stride[a.rank() - 2];
  g.aCol = a.stride[a.rank() - 1];
  g.b = b.raw();
  g.bRow = b.stride[vectorB ? 0 : b.rank() - 2];
  g.bCol = vectorB ? 1 : b.stride[b.rank() - 1];
  g.c = out.raw();
  g.cRow = g.n;
  gemm(context, g, batch, op);
  return out;
}

}  // namespace md::matmul
