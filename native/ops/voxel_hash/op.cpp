#include "op.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <mutex>
#include <numeric>
#include <vector>

#include "../elementwise/op.h"
#include "../sort/op.h"
#include "cuda.h"

namespace md::voxel_hash {
namespace {

constexpr int64_t kPointGrain = 1 << 9;       // points or queries below which a second thread costs more than it brings
constexpr int64_t kNeighbourGrain = 1 << 12;  // neighbours, likewise
constexpr int64_t kLeastSlots = 16;

void requireGrid(const Grid& grid, const char* op) {
  if (!(grid.voxelSize > 0) || !std::isfinite(grid.voxelSize) || static_cast<float>(grid.voxelSize) == 0) {
    fail(ErrorKind::value, op, "voxelSize is ", grid.voxelSize, ", expected a positive finite number");
  }
  for (double coordinate : grid.origin) {
    if (!std::isfinite(coordinate)) fail(ErrorKind::value, op, "origin holds ", coordinate, ", expected finite coordinates");
  }
}

// Positions [N, 3] and their batch indices [N], both contiguous, the latter i64.
struct Rows {
  Tensor positions, batch;
  int64_t count;
};

Rows requireRows(Context& context, const Tensor& positions, const Tensor& batch, const char* op, const char* operand, const char* batchOperand) {
  requireFloat(positions, op, operand);
  requireRank(positions, 2, op, operand);
  requireShape(positions, {positions.dim(0), 3}, op, operand);
  requireShape(batch, {positions.dim(0)}, op, batchOperand);
  if (batch.dtype != DType::i32 && batch.dtype != DType::i64) {
    fail(ErrorKind::dtype, op, batchOperand, " has dtype ", dtypeName(batch.dtype), ", expected i32 or i64");
  }
  if (positions.dim(0) > INT32_MAX) fail(ErrorKind::shape, op, operand, " has ", positions.dim(0), " rows, expected fewer than 2^31");
  return {contiguous(context, positions, op), contiguous(context, elementwise::cast(context, batch, DType::i64, op), op), positions.dim(0)};
}

// Says what is wrong with a row that could not be binned.
[[noreturn]] void failRow(const Rows& rows, int64_t row, const char* op, const char* operand) {
  const int64_t batch = rows.batch.data<int64_t>()[row];
  const auto at = [&](int axis) {
    const int64_t i = 3 * row + axis;
    return rows.positions.dtype == DType::f32 ? static_cast<double>(rows.positions.data<float>()[i]) : rows.positions.data<double>()[i];
  };
  if (batch < 0 || batch >= kBatchLimit) {
    fail(ErrorKind::value, op, operand, " row ", row, " has batch index ", batch, ", expected 0 to ", kBatchLimit - 1);
  }
  const bool finite = std::isfinite(at(0)) && std::isfinite(at(1)) && std::isfinite(at(2));
  fail(ErrorKind::value, op, operand, " row ", row, " is (", at(0), ", ", at(1), ", ", at(2), "), expected ",
       finite ? "voxel coordinates from -65536 to 65535" : "finite coordinates");
}

// kernel(begin, end) over points in parallel; the first bad row it returns becomes the error.
template <class Kernel>
void eachPoint(Context& context, const Rows& rows, const char* op, Kernel&& kernel) {
  std::atomic<int64_t> bad{INT64_MAX};
  parallelFor(context.pool, rows.count, kPointGrain, [&](int64_t begin, int64_t end) {
    const int64_t row = kernel(begin, end);
    int64_t least = bad.load();
    while (row >= 0 && row < least && !bad.compare_exchange_weak(least, row)) {
    }
  });
  if (bad != INT64_MAX) failRow(rows, bad, op, "points");
}

// The first row without a voxel, whatever the grid: -1 if there is none.
template <class T, class I>
int64_t firstBadQuery(const T* positions, const I* batch, int64_t count) {
  int64_t row = 0;
  while (row < count && validQuery(positions + 3 * row, batch[row])) row++;
  return row < count ? row : -1;
}

// On the CPU also checks the rows, so that kernels need not: they are queued.
Rows requireQueries(Context& context, const Tensor& queries, const Tensor& queryBatch, const char* op) {
  const Rows rows = requireRows(context, queries, queryBatch, op, "queries", "queryBatch");
  if (context.onCuda()) return rows;
  const Tensor batch = contiguous(context, queryBatch, op);
  for (const Tensor* part : {&rows.positions, &batch}) awaitElements(context, *part);
  const auto check = [&](const auto* positions) {
    return batch.dtype == DType::i32 ? firstBadQuery(positions, batch.data<int32_t>(), rows.count) : firstBadQuery(positions, batch.data<int64_t>(), rows.count);
  };
  const int64_t bad = queries.dtype == DType::f32 ? check(rows.positions.data<float>()) : check(rows.positions.data<double>());
  if (bad >= 0) {
    context.pool.finish();
    failRow(rows, bad, op, "queries");
  }
  return rows;
}

Table requireTable(const Tensor& table, const char* op) {
  requireDType(table, DType::i64, op, "table");
  requireRank(table, 2, op, "table");
  if (table.dim(0) < kLeastSlots || !std::has_single_bit(static_cast<uint64_t>(table.dim(0))) || table.dim(1) != 2 || !table.contiguous()) {
    fail(ErrorKind::shape, op, "table has shape ", table.shape.str(), ", expected the contiguous table of a voxel hash");
  }
  return tableOf(table);
}

CodeLayout layoutOf(const KeyRange& range, int& bits) {
  CodeLayout layout;
  bits = 0;
  for (int field = 0; field < 4; field++) {
    layout.low[field] = range.low[field];
    layout.bits[field] = std::bit_width(static_cast<uint64_t>(range.high[field] - range.low[field]));
    bits += layout.bits[field];
  }
  return layout;
}

}  // namespace

Table tableOf(const Tensor& table) {
  const int64_t slots = table.dim(0);
  return {table.data<int64_t>(), slots, 64 - std::countr_zero(static_cast<uint64_t>(slots))};
}

int64_t slotsFor(int64_t columns) { return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max(2 * columns, kLeastSlots)))); }

VoxelHash build(Context& context, const Tensor& points, const Tensor& pointBatch, const Grid& grid, const char* op) {
  requireGrid(grid, op);
  const Rows rows = requireRows(context, points, pointBatch, op, "points", "pointBatch");
  const int64_t n = rows.count;
  if (context.onCuda()) return buildCuda(context, rows.positions, rows.batch, grid, op);
  const int64_t parts = std::clamp<int64_t>(n / kPointGrain, 1, context.pool.threads());
  VoxelHash hash;

  const Tensor pointKeys = empty(context, DType::i64, {n}, op);
  KeyRange range;
  std::mutex combining;
  eachPoint(context, rows, op, [&](int64_t begin, int64_t end) {
    KeyRange own;
    const int64_t bad = MD_CALL(binPoints)(rows.positions.dtype, rows.positions.raw(), rows.batch.data<int64_t>(), begin, end, grid,
                                           pointKeys.data<int64_t>(), own);
    const std::lock_guard lock(combining);
    for (int field = 0; field < 4; field++) {
      range.low[field] = std::min(range.low[field], own.low[field]);
      range.high[field] = std::max(range.high[field], own.high[field]);
    }
    return bad;
  });

  Tensor codes = empty(context, DType::i64, {n}, op);
  hash.pointOrder = empty(context, DType::i32, {n}, op);
  if (n > 0) {
    int bits;
    const CodeLayout layout = layoutOf(range, bits);
    parallelFor(context.pool, n, kPointGrain, [&](int64_t begin, int64_t end) {
      MD_CALL(encodeKeys)(pointKeys.data<int64_t>(), begin, end, layout, codes.data<int64_t>(), hash.pointOrder.data<int32_t>());
    });
    sort::radixSort(context, codes, hash.pointOrder, bits, op);
  }

  std::vector<int64_t> starts(static_cast<size_t>(parts) + 1, 0);
  const auto eachPart = [&](auto&& body) {
    parallelFor(context.pool, parts, 1, [&](int64_t first, int64_t last) {
      for (int64_t part = first; part < last; part++) body(static_cast<size_t>(part), n * part / parts, n * (part + 1) / parts);
    });
  };
  eachPart([&](size_t part, int64_t begin, int64_t end) { starts[part + 1] = MD_CALL(countVoxels)(codes.data<int64_t>(), begin, end); });
  for (size_t part = 0; part < static_cast<size_t>(parts); part++) starts[part + 1] += starts[part];
  const int64_t voxels = starts.back();

  hash.keys = empty(context, DType::i64, {voxels}, op);
  hash.coordinates = empty(context, DType::i32, {voxels, 4}, op);
  hash.voxelOffsets = empty(context, DType::i32, {voxels + 1}, op);
  hash.voxelOfPoint = empty(context, DType::i32, {n}, op);
  std::vector<int64_t> columns(static_cast<size_t>(parts), 0);
  eachPart([&](size_t part, int64_t begin, int64_t end) {
    columns[part] = MD_CALL(emitVoxels)(codes.data<int64_t>(), hash.pointOrder.data<int32_t>(), pointKeys.data<int64_t>(), begin, end, starts[part],
                        hash.keys.data<int64_t>(), hash.coordinates.data<int32_t>(), hash.voxelOffsets.data<int32_t>(),
                        hash.voxelOfPoint.data<int32_t>());
  });
  hash.voxelOffsets.data<int32_t>()[voxels] = static_cast<int32_t>(n);

  const int64_t slots = slotsFor(std::accumulate(columns.begin(), columns.end(), int64_t{0}));
  hash.table = empty(context, DType::i64, {slots, 2}, op);
  MD_CALL(insertKeys)(hash.keys.data<int64_t>(), voxels, tableOf(hash.table));
  return hash;
}

Tensor lookup(Context& context, const Tensor& queries, const Tensor& queryBatch, const Tensor& tableTensor, const Grid& grid, const char* op) {
  requireGrid(grid, op);
  const Table table = requireTable(tableTensor, op);
  const Rows rows = requireQueries(context, queries, queryBatch, op);
  Tensor out = empty(context, DType::i32, {rows.count}, op);
  if (context.onCuda()) {
    lookupCuda(context, rows.positions, rows.batch, grid, table, out, op);
    return out;
  }
  parallelForLater(context.pool, rows.count, kPointGrain,
                   [=, dtype = rows.positions.dtype, positions = rows.positions.raw(), batch = rows.batch.data<int64_t>(), out = out.data<int32_t>()](int64_t begin, int64_t end) {
                     MD_CALL(lookupRows)(dtype, positions, batch, begin, end, grid, table, out);
                   });
  return out;
}

Tensor neighbours(Context& context, const Tensor& queries, const Tensor& queryBatch, const Tensor& tableTensor, const Grid& grid, const char* op) {
  requireGrid(grid, op);
  const Table table = requireTable(tableTensor, op);
  const Rows rows = requireQueries(context, queries, queryBatch, op);
  Tensor out = empty(context, DType::i32, {rows.count, kNeighbours}, op);
  if (context.onCuda()) {
    neighboursCuda(context, rows.positions, rows.batch, grid, table, out, op);
    return out;
  }
  parallelForLater(context.pool, rows.count, kNeighbourGrain / kNeighbours,
                   [=, dtype = rows.positions.dtype, positions = rows.positions.raw(), batch = rows.batch.data<int64_t>(), out = out.data<int32_t>()](int64_t begin, int64_t end) {
                     MD_CALL(neighbourRows)(dtype, positions, batch, begin, end, grid, table, out);
                   });
  return out;
}

Tensor neighboursOfVoxels(Context& context, const Tensor& keys, const Tensor& tableTensor, int64_t kernelSize, const char* op) {
  if (kernelSize != 3 && kernelSize != 5) fail(ErrorKind::value, op, "kernelSize is ", kernelSize, ", expected 3 or 5");
  const Table table = requireTable(tableTensor, op);
  requireDType(keys, DType::i64, op, "keys");
  requireRank(keys, 1, op, "keys");
  const Tensor voxels = contiguous(context, keys, op);
  const int64_t neighbours = kernelSize * kernelSize * kernelSize;
  Tensor out = empty(context, DType::i32, {keys.dim(0), neighbours}, op);
  if (context.onCuda()) {
    neighboursOfVoxelsCuda(context, voxels, table, kernelSize, out, op);
    return out;
  }
  parallelForLater(context.pool, keys.dim(0), kNeighbourGrain / neighbours, [=, keys = voxels.data<int64_t>(), out = out.data<int32_t>()](int64_t begin, int64_t end) {
    MD_CALL(voxelNeighbourRows)(keys, begin, end, table, kernelSize, out);
  });
  return out;
}

}  // namespace md::voxel_hash
