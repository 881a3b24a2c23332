#include "op.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <functional>
#include <memory>
#include <vector>

#include "cuda.h"

namespace md::gathered_gemm {
namespace {

constexpr int64_t kMultiplyGrain = 1 << 18;  // multiply-adds below which a second thread costs more than it brings
constexpr int64_t kRowUnit = 12;             // rows of a gradient that one thread takes at least: those of a tile
constexpr int64_t kSweepsPerThread = 2;      // parts of a weight gradient: each of them goes through all rows
constexpr int64_t kFewBlocks = 2;            // a thread: so few are not shared out evenly
constexpr int64_t kColumnsPerThread = 2;     // parts of the columns: each of them packs its own of every matrix
constexpr int64_t kNearMatrices = 1 << 20;   // bytes: all of so few are packed or read again for the next block
constexpr int64_t kFewPairs = 32;            // of an offset in a block: not enough for good tiles

int64_t blocksOf(int64_t outputs, int64_t blockRows) { return (outputs + blockRows - 1) / blockRows; }
int64_t blocksOf(const Pairs& pairs) { return blocksOf(pairs.outputRows, pairs.blockRows); }

// Makes counts, each at the index after its own, the starts.
void sumUp(int32_t* starts, int64_t count) {
  starts[0] = 0;
  for (int64_t i = 0; i < count; i++) starts[i + 1] += starts[i];
}

struct CheckedMap {
  PairMap map;  // contiguous
  Pairs pairs;
  int64_t count;  // on a device the room for pairs
};

[[noreturn]] void failPairs(const Pairs& pairs, const char* op) {
  fail(ErrorKind::value, op, "the map has a pair outside of its block or of the ", pairs.inputRows, " inputs and ", pairs.outputRows, " outputs");
}

// On a device all but the pairs themselves, which the kernels check.
CheckedMap requireMap(Context& context, const PairMap& given, int64_t kernels, int64_t inputs, int64_t outputs, const char* op) {
  CheckedMap checked{{contiguous(context, given.inputs, op), contiguous(context, given.outputs, op), contiguous(context, given.starts, op)}, {}, 0};
  const PairMap& map = checked.map;
  const int64_t blocks = blocksOf(outputs, kBlockRows), groups = blocks * kernels;
  requireDType(map.inputs, DType::i32, op, "the map's inputs");
  requireRank(map.inputs, 1, op, "the map's inputs");
  requireDType(map.outputs, DType::i32, op, "the map's outputs");
  requireShape(map.outputs, map.inputs.shape, op, "the map's outputs");
  requireDType(map.starts, DType::i32, op, "the map's starts");
  requireShape(map.starts, {groups + 1}, op, "the map's starts");
  checked.count = map.inputs.dim(0);
  const int32_t* at = map.starts.data<int32_t>();
  checked.pairs = {map.inputs.data<int32_t>(), map.outputs.data<int32_t>(), at, kernels, inputs, outputs, kBlockRows};
  if (context.onCuda()) {
    checkStartsCuda(context, checked.pairs, checked.count, op);
    return checked;
  }
  for (const Tensor* part : {&map.inputs, &map.outputs, &map.starts}) awaitElements(context, *part);
  bool rising = at[0] == 0 && at[groups] <= checked.count;
  for (int64_t i = 0; i < groups && rising; i++) rising = at[i] <= at[i + 1];
  if (!rising) fail(ErrorKind::value, op, "the map's starts do not rise from 0 within its ", checked.count, " pairs");
  checked.count = at[groups];
  if (!MD_CALL(pairsHold)(checked.pairs, blocks)) failPairs(checked.pairs, op);
  return checked;
}

// Whether rows of so many elements that lie together are added to in whole vectors.
bool holdsVectors(DType dtype, int64_t columns) { return MD_CALL(paddedColumns)(dtype, columns) == columns; }

Panels panelsOf(const Matrices& weight) {
  const int64_t first = weight.mirrored ? (weight.kernels - 1) * weight.kernelStride : 0;
  return {static_cast<const char*>(weight.values.raw()) + first * static_cast<int64_t>(itemSize(weight.values.dtype)),
          weight.mirrored ? -weight.kernelStride : weight.kernelStride, weight.columnStride, weight.depthStride};
}

// The matrices of offsets that have pairs; the others' places stay as they are. By the threads that will read them.
Tensor pack(Context& context, const Matrices& weight, const Pairs& pairs, int64_t parts, const char* op) {
  const DType dtype = weight.values.dtype;
  const auto size = static_cast<int64_t>(itemSize(dtype));
  const int64_t matrix = MD_CALL(paddedColumns)(dtype, weight.columns) * weight.depth, blocks = blocksOf(pairs);
  const Panels from = panelsOf(weight);
  Tensor packed = empty(context, dtype, {weight.kernels, matrix}, op);
  const auto packOne = [=, depth = weight.depth, columns = weight.columns, to = packed.data<char>()](int64_t k) {
    MD_CALL(packPanels)(dtype, static_cast<const char*>(from.first) + k * from.kernelStride * size, depth, columns, from.depthStride, from.columnStride,
                        to + k * matrix * size);
  };
  parallelForLater(context.pool, weight.kernels, (weight.kernels + parts - 1) / parts, [=](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; k++) {
      int64_t block = 0;
      while (block < blocks && pairs.starts[block * pairs.kernels + k] == pairs.starts[block * pairs.kernels + k + 1]) block++;
      if (block < blocks) packOne(k);
    }
  });
  return packed;
}

// Where each part of the rows of the gradient begins, so that all have about as many pairs to go through.
std::vector<int64_t> shareRows(const Pairs& pairs, int64_t columns, int64_t parts, int64_t threads) {
  std::vector<int64_t> work(static_cast<size_t>(pairs.kernels), 0), begins(static_cast<size_t>(parts) + 1, pairs.kernels * columns);
  int64_t total = 0;
  for (int64_t group = 0; group < blocksOf(pairs) * pairs.kernels; group++) {
    const int64_t count = pairs.starts[group + 1] - pairs.starts[group];
    work[static_cast<size_t>(group % pairs.kernels)] += count;
    total += count * columns;
  }
  begins[0] = 0;
  int64_t part = 1, before = 0;
  for (int64_t k = 0; k < pairs.kernels; k++) {
    const int64_t rowWork = work[static_cast<size_t>(k)];
    for (; part < parts && before + rowWork * columns > cutAt(total, part, parts, threads); part++) {
      const int64_t rows = (cutAt(total, part, parts, threads) - before) / rowWork;
      begins[static_cast<size_t>(part)] = k * columns + std::min(columns, (rows + kRowUnit / 2) / kRowUnit * kRowUnit);
    }
    before += rowWork * columns;
  }
  return begins;
}

// A region that is yet to be queued, and what it needs until then.
struct Work {
  int64_t parts = 0;
  std::function<void(int64_t part, int64_t thread)> run;
  std::vector<Tensor> scratch;
};

void queue(Context& context, Work work) {
  if (work.parts > 0) shareOutLater(context.pool, work.parts, std::move(work.run));
}

// Both in one region. Each thread has parts of each.
void queueBoth(Context& context, Work a, Work b) {
  const int64_t threads = context.pool.threads();
  const bool even = a.parts % threads == 0 && b.parts % threads == 0;
  const int64_t eachOfA = even ? a.parts / threads : a.parts, each = eachOfA + (even ? b.parts / threads : b.parts);
  queue(context, {a.parts + b.parts,
                  [=, a = std::move(a.run), b = std::move(b.run)](int64_t part, int64_t thread) {
                    const int64_t round = part / each, at = part % each;
                    if (at < eachOfA) return a(round * eachOfA + at, thread);
                    b(round * (each - eachOfA) + at - eachOfA, thread);
                  },
                  {}});
}

// Threads share out blocks of rows; all matrices are packed first.
Work multiplyByBlocks(Context& context, Product product, const Matrices& weight, int64_t worth, std::shared_ptr<const void> owner, const char* op) {
  const Pairs& pairs = product.pairs;
  const int64_t blocks = blocksOf(pairs), threads = context.pool.threads(), parts = std::min(worth, std::min(blocks, threads * kPartsPerThread));
  const Tensor packed = pack(context, weight, pairs, std::min(parts, threads), op);
  product.packed = packed.raw();
  const int64_t space = holdsVectors(product.dtype, weight.columns) ? 0 : pairs.blockRows * MD_CALL(paddedColumns)(product.dtype, weight.columns);
  const Tensor spaces = empty(context, product.dtype, {threads, space}, op);
  const int64_t bytes = space * static_cast<int64_t>(itemSize(product.dtype));
  const auto run = [=, spaces = spaces.data<char>(), owner = std::move(owner)](int64_t part, int64_t thread) {
    MD_CALL(multiplyBlocks)(product, cutAt(blocks, part, parts, threads), cutAt(blocks, part + 1, parts, threads), spaces + thread * bytes);
  };
  return {parts, run, {packed, spaces}};
}

// Threads share out columns, in whole vectors, of all rows where the matrices are large, else of one block of rows after the other.
Work multiplyByColumns(Context& context, Product product, const Matrices& weight, int64_t worth, std::shared_ptr<const void> owner, const char* op) {
  const Pairs& pairs = product.pairs;
  const int64_t lanes = MD_CALL(paddedColumns)(product.dtype, 1), units = (weight.columns + lanes - 1) / lanes, blocks = blocksOf(pairs), outputs = pairs.outputRows;
  const auto size = static_cast<int64_t>(itemSize(product.dtype));
  const int64_t together = weight.kernels * weight.depth * weight.columns * size > kNearMatrices ? blocks : 1, rows = together * pairs.blockRows;
  const int64_t threads = context.pool.threads(), parts = std::min({worth, units * (blocks / together), kColumnsPerThread * threads});
  const int64_t space = units * lanes * (weight.depth + (holdsVectors(product.dtype, weight.columns) ? 0 : std::min(rows, outputs)));
  const Tensor spaces = empty(context, product.dtype, {threads, space}, op);
  // In vectors of rows that are together; the last of these may be fewer.
  const auto cut = [=](int64_t part) {
    const int64_t at = cutAt(outputs * units, part, parts, threads), before = at / (rows * units), here = std::min(rows, outputs - before * rows);
    return before * units + (here > 0 ? (at - before * rows * units + here - 1) / here : 0);
  };
  const auto run = [=, panels = panelsOf(weight), columns = weight.columns, spaces = spaces.data<char>(), owner = std::move(owner)](int64_t part, int64_t thread) {
    const int64_t end = cut(part + 1);
    for (int64_t cell = cut(part), next; cell < end; cell = next) {
      const int64_t before = cell / units, unit = cell % units;
      next = std::min(end, (before + 1) * units);
      MD_CALL(multiplyColumns)(product, panels, unit * lanes, std::min(columns, (unit + next - cell) * lanes), before * together, (before + 1) * together,
                               spaces + thread * space * size);
    }
  };
  return {parts, run, {spaces}};
}

// Into `out`. `owner` keeps the pairs where no tensor does.
Work multiplyOnCpu(Context& context, const Pairs& pairs, int64_t count, std::shared_ptr<const void> owner, const Tensor& x, const Matrices& weight,
                   const Tensor* bias, const Tensor& out, const char* op) {
  if (out.numel() == 0) return {};
  const Product product{x.dtype, pairs, weight.depth, weight.columns, x.raw(), nullptr, bias ? bias->raw() : nullptr, out.raw()};
  const int64_t worth = std::max<int64_t>(1, count * weight.depth * weight.columns / kMultiplyGrain);
  const auto multiplyBy = blocksOf(pairs) <= kFewBlocks * context.pool.threads() ? multiplyByColumns : multiplyByBlocks;
  return multiplyBy(context, product, weight, worth, std::move(owner), op);
}

// The gradient of the weight, into `weight`.
Work weightGradOnCpu(Context& context, const Pairs& pairs, int64_t count, const Tensor& x, const Tensor& grad, const Matrices& weight, const char* op) {
  const int64_t rows = weight.kernels * weight.columns, threads = context.pool.threads();
  if (rows == 0) return {};
  if (count == 0) {
    clear(context, weight.values, op);
    return {};
  }
  const bool direct = weight.depthStride == 1 && holdsVectors(x.dtype, weight.depth);
  const Tensor sums = empty(context, x.dtype, {direct ? 0 : rows, MD_CALL(paddedColumns)(x.dtype, weight.depth)}, op);
  const OuterProduct product{x.dtype, pairs, weight.depth, weight.columns, weight.kernelStride, weight.columnStride, weight.depthStride,
                             x.raw(), grad.raw(), direct ? nullptr : sums.raw(), weight.values.raw()};
  const int64_t parts = std::clamp<int64_t>(count * weight.depth * weight.columns / kMultiplyGrain, 1, kSweepsPerThread * threads);
  const auto run = [product, begins = shareRows(pairs, weight.columns, parts, threads)](int64_t part, int64_t) {
    const auto at = static_cast<size_t>(part);
    MD_CALL(outerProductRows)(product, begins[at], begins[at + 1]);
  };
  return {parts, run, {sums}};
}

struct Turned {
  std::vector<int32_t> inputs, outputs, starts;
  Pairs pairs{};
};

// Pairs the other way round, few in larger blocks. Not in tensors, whose memory belongs to what was queued until that is done.
std::shared_ptr<const Turned> turn(const Pairs& from, int64_t count, int64_t threads) {
  const int64_t kernels = from.kernels;
  int64_t blockRows = kBlockRows;
  while (blockRows * threads < from.inputRows && count < kFewPairs * kernels * blocksOf(from.inputRows, blockRows)) blockRows *= 2;
  const int shift = std::countr_zero(static_cast<uint64_t>(blockRows));
  const int64_t groups = blocksOf(from.inputRows, blockRows) * kernels, fromGroups = blocksOf(from) * kernels;
  auto turned = std::make_shared<Turned>();
  turned->inputs.resize(static_cast<size_t>(count));
  turned->outputs.resize(static_cast<size_t>(count));
  turned->starts.assign(static_cast<size_t>(groups) + 1, 0);
  int32_t *const inputs = turned->inputs.data(), *const outputs = turned->outputs.data(), *const starts = turned->starts.data();
  const auto eachPair = [&](auto&& body) {
    for (int64_t group = 0; group < fromGroups; group++) {
      const int64_t kernel = group % kernels;
      for (int32_t h = from.starts[group]; h < from.starts[group + 1]; h++) body((from.inputs[h] >> shift) * kernels + kernel, h);
    }
  };
  eachPair([&](int64_t group, int32_t) { starts[group + 1]++; });
  sumUp(starts, groups);
  std::vector<int32_t> next = turned->starts;
  eachPair([&](int64_t group, int32_t h) {
    const int32_t place = next[static_cast<size_t>(group)]++;
    inputs[place] = from.outputs[h];
    outputs[place] = from.inputs[h];
  });
  turned->pairs = {inputs, outputs, starts, kernels, from.outputRows, from.inputRows, blockRows};
  return turned;
}

void requireCountable(const Tensor& neighbours, const char* op) {
  if (neighbours.numel() > INT32_MAX) fail(ErrorKind::shape, op, "neighbours has shape ", neighbours.shape.str(), ", expected fewer than 2^31 elements");
}

// body(block, first row, last row) for each block of output rows, later.
template <class F>
void eachBlockLater(Context& context, int64_t outputs, F body) {
  parallelForLater(context.pool, blocksOf(outputs, kBlockRows), 1, [=](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; block++) body(block, block * kBlockRows, std::min(outputs, (block + 1) * kBlockRows));
  });
}

// The starts of contiguous neighbours' pairs. `valid`, unless null, becomes false if an index is out of range.
Tensor startsOf(Context& context, const Tensor& neighbours, int64_t inputs, std::atomic<bool>* valid, const char* op) {
  const int64_t outputs = neighbours.dim(0), kernels = neighbours.dim(1), groups = blocksOf(outputs, kBlockRows) * kernels;
  Tensor out = empty(context, DType::i32, {groups + 1}, op);
  const auto starts = out.data<int32_t>();
  eachBlockLater(context, outputs, [=, from = neighbours.data<int32_t>()](int64_t block, int64_t begin, int64_t end) {
    int32_t* const counts = starts + block * kernels + 1;
    std::fill_n(counts, kernels, 0);
    const bool inRange = MD_CALL(countPairs)(from, kernels, inputs, begin, end, counts);
    if (valid && !inRange) *valid = false;
  });
  shareOutLater(context.pool, 1, [=](int64_t, int64_t) { sumUp(starts, groups); });
  return out;
}

// The map of the neighbours whose pairs begin there, with room for so many.
PairMap mapFrom(Context& context, const Tensor& neighbours, const Tensor& starts, int64_t room, const char* op) {
  PairMap map{empty(context, DType::i32, {room}, op), empty(context, DType::i32, {room}, op), starts};
  eachBlockLater(context, neighbours.dim(0),
                 [kernels = neighbours.dim(1), from = neighbours.data<int32_t>(), starts = starts.data<int32_t>(), inputs = map.inputs.data<int32_t>(),
                  outputs = map.outputs.data<int32_t>()](int64_t block, int64_t begin, int64_t end) {
                   MD_CALL(emitPairs)(from, kernels, begin, end, starts + block * kernels, inputs, outputs);
                 });
  return map;
}

}  // namespace

PairMap mapPairs(Context& context, const Tensor& given, int64_t inputs, bool roomy, const char* op) {
  requireDType(given, DType::i32, op, "neighbours");
  requireRank(given, 2, op, "neighbours");
  const Tensor neighbours = contiguous(context, given, op);
  requireCountable(neighbours, op);
  if (context.onCuda()) return mapPairsCuda(context, neighbours, inputs, roomy, op);
  std::atomic<bool> valid{true};
  const Tensor starts = startsOf(context, neighbours, inputs, &valid, op);
  context.pool.finish();
  if (!valid) fail(ErrorKind::value, op, "neighbours holds an index outside -1 to ", inputs - 1);
  return mapFrom(context, neighbours, starts, starts.data<int32_t>()[starts.numel() - 1], op);
}

PairMap mapPairsLater(Context& context, const Tensor& neighbours, int64_t inputs, const char* op) {
  requireCountable(neighbours, op);
  if (context.onCuda()) return mapPairsCuda(context, neighbours, inputs, true, op);
  return mapFrom(context, neighbours, startsOf(context, neighbours, inputs, nullptr, op), neighbours.numel(), op);
}

Tensor multiply(Context& context, const PairMap& given, const Tensor& x, const Matrices& weight, const Tensor* bias, int64_t outputs, const char* op) {
  const CheckedMap checked = requireMap(context, given, weight.kernels, x.dim(0), outputs, op);
  const Tensor source = contiguous(context, x, op), added = bias ? contiguous(context, *bias, op) : Tensor{};
  const Tensor* const addend = bias ? &added : nullptr;
  const Tensor out = empty(context, x.dtype, {outputs, weight.columns}, op);
  if (context.onCuda()) {
    multiplyCuda(context, planCuda(context, x.dtype), checked.pairs, checked.count, source, weight, addend, out, op);
  } else {
    queue(context, multiplyOnCpu(context, checked.pairs, checked.count, nullptr, source, weight, addend, out, op));
  }
  return out;
}

Tensor multiplyGrad(Context& context, const PairMap& given, const Tensor& x, const Tensor& grad, const Matrices* transposed, const Matrices* ofWeight,
                    const char* op) {
  const CheckedMap checked = requireMap(context, given, (transposed ? transposed : ofWeight)->kernels, x.dim(0), grad.dim(0), op);
  const Tensor source = contiguous(context, x, op), g = contiguous(context, grad, op);
  if (context.onCuda()) {
    if (ofWeight) weightGradCuda(context, planCuda(context, x.dtype), checked.pairs, checked.count, source, g, *ofWeight, op);
    if (!transposed) return {};
    const PairMap back = transposed->mirrored ? checked.map : transposeCuda(context, checked.pairs, checked.count, op);
    return multiply(context, back, g, *transposed, nullptr, x.dim(0), op);
  }
  Tensor out;
  Work toX, toWeight;
  if (transposed) {
    out = empty(context, x.dtype, {x.dim(0), transposed->columns}, op);
    const std::shared_ptr<const Turned> turned = transposed->mirrored ? nullptr : turn(checked.pairs, checked.count, context.pool.threads());
    toX = multiplyOnCpu(context, turned ? turned->pairs : checked.pairs, checked.count, turned, g, *transposed, nullptr, out, op);
  }
  if (ofWeight) toWeight = weightGradOnCpu(context, checked.pairs, checked.count, source, g, *ofWeight, op);
  queueBoth(context, std::move(toWeight), std::move(toX));
  return out;
}

}  // namespace md::gathered_gemm
