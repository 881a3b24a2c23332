#include "cuda.h"

#include "../../core/cuda/launch.h"
#include "../../core/cuda/scan.h"
#include "../sort/op.h"

namespace md::voxel_hash {
namespace {

using namespace md::cuda;

// Starts of voxels and of columns are counted together, in the halves of 64 bits.
constexpr int64_t kOneVoxel = 1, kOneColumn = int64_t{1} << 32;
MD_HOST_DEVICE inline int64_t voxelsIn(int64_t counts) { return counts & (kOneColumn - 1); }
MD_HOST_DEVICE inline int64_t columnsIn(int64_t counts) { return counts >> 32; }

template <class T>
__global__ void binKernel(int64_t n, const T* __restrict__ points, const int64_t* __restrict__ batch, TypedGrid<T> grid, int64_t* __restrict__ keys,
                          int32_t* __restrict__ order, Complaint* complaint, const char* op) {
  gridStride(n, [&](int64_t i) {
    Voxel v = voxelAt(grid, points + 3 * i, batch[i]);
    if (!inside(v)) {
      complain(complaint, op, Wrong::row, i, 0, 0, "finite points in voxels -65536 to 65535 and batch indices 0 to 4095");
      v = Voxel{0, 0, 0, 0};
    }
    keys[i] = packKey(v);
    order[i] = static_cast<int32_t>(i);
  });
}

__global__ void countStarts(int64_t n, const int64_t* __restrict__ keys, int64_t* __restrict__ counts) {
  gridStride(n, [&](int64_t i) {
    const bool voxel = i == 0 || keys[i] != keys[i - 1], column = i == 0 || keys[i] >> kColumnBits != keys[i - 1] >> kColumnBits;
    counts[i] = (voxel ? kOneVoxel : 0) + (column ? kOneColumn : 0);
  });
}

struct Parts {
  int64_t* keys;
  int32_t* coordinates;
  int32_t* offsets;
  int32_t* voxelOfPoint;
  int32_t* columns;  // the first voxel of each, and last the number of voxels
};

__global__ void emitVoxels(int64_t n, const int64_t* __restrict__ keys, const int32_t* __restrict__ order, const int64_t* __restrict__ starts, Parts out) {
  gridStride(n, [&](int64_t i) {
    const int64_t before = starts[i], upTo = starts[i + 1], voxel = voxelsIn(upTo) - 1;
    out.voxelOfPoint[order[i]] = static_cast<int32_t>(voxel);
    if (voxelsIn(before) != voxelsIn(upTo)) {
      const Voxel v = unpackKey(keys[i]);
      out.keys[voxel] = keys[i];
      out.coordinates[4 * voxel] = static_cast<int32_t>(v.batch);
      out.coordinates[4 * voxel + 1] = v.x;
      out.coordinates[4 * voxel + 2] = v.y;
      out.coordinates[4 * voxel + 3] = v.z;
      out.offsets[voxel] = static_cast<int32_t>(i);
    }
    if (columnsIn(before) != columnsIn(upTo)) out.columns[columnsIn(before)] = static_cast<int32_t>(voxel);
    if (i == n - 1) {
      out.offsets[voxel + 1] = static_cast<int32_t>(n);
      out.columns[columnsIn(upTo)] = static_cast<int32_t>(voxel + 1);
    }
  });
}

/// owners [slots], cleared: count - c for column c. Of two columns that want a slot the first one gets it and the other moves
/// on, in whatever order they come: the table is that of columns inserted one after another.
__global__ void claimSlots(int64_t count, const int32_t* __restrict__ columns, const int64_t* __restrict__ keys, Table table, int32_t* owners) {
  gridStride(count, [&](int64_t column) {
    int64_t slot = slotOf(columnKey(unpackKey(keys[columns[column]])), table);
    int32_t claim = static_cast<int32_t>(count - column);
    while (claim != 0) {
      const int32_t old = atomicMax(&owners[slot], claim);
      if (old < claim) claim = old;
      slot = nextSlot(slot, table);
    }
  });
}

__global__ void fillTable(int64_t count, const int32_t* __restrict__ columns, const int64_t* __restrict__ keys, const int32_t* __restrict__ owners, Table table) {
  gridStride(table.slots, [&](int64_t slot) {
    int64_t key = kEmptySlot;
    uint64_t entry = 0;
    if (owners[slot] != 0) {
      const int32_t* column = columns + (count - owners[slot]);
      key = columnKey(unpackKey(keys[column[0]]));
      entry = static_cast<uint64_t>(column[0]);
      for (int32_t voxel = column[0]; voxel < column[1]; voxel++) entry |= uint64_t{1} << (32 + columnPlace(unpackKey(keys[voxel]).z));
    }
    table.entries[2 * slot] = key;
    table.entries[2 * slot + 1] = static_cast<int64_t>(entry);
  });
}

constexpr const char* kQueries = "finite queries and batch indices 0 to 4095";

template <class T>
__global__ void lookupKernel(int64_t n, const T* __restrict__ queries, const int64_t* __restrict__ batch, TypedGrid<T> grid, Table table,
                             int32_t* __restrict__ out, Complaint* complaint, const char* op, const char* expected) {
  gridStride(n, [&](int64_t i) {
    Voxel v;
    const bool good = queryVoxel(grid, queries, batch, i, v);
    if (!good) complain(complaint, op, Wrong::row, i, 0, 0, expected);
    out[i] = good ? findInGrid(v, table) : -1;
  });
}

/// A thread for the neighbours of one x and y.
template <int Reach>
__device__ void neighboursOfUnit(int64_t unit, const Voxel& v, bool good, const Table& table, int32_t* out) {
  constexpr int size = 2 * Reach + 1;
  const int place = static_cast<int>(unit % (size * size));
  out += unit * size;
  if (good) return neighboursAlongZ<Reach>(v, v.x + place / size - Reach, v.y + place % size - Reach, table, out);
  for (int dz = 0; dz < size; dz++) out[dz] = -1;
}

template <class T>
__global__ void neighboursKernel(int64_t n, const T* __restrict__ queries, const int64_t* __restrict__ batch, TypedGrid<T> grid, Table table,
                                 int32_t* __restrict__ out, Complaint* complaint, const char* op, const char* expected) {
  gridStride(n * 9, [&](int64_t unit) {
    const int64_t i = unit / 9;
    Voxel v;
    const bool good = queryVoxel(grid, queries, batch, i, v);
    if (!good) complain(complaint, op, Wrong::row, i, 0, 0, expected);
    neighboursOfUnit<1>(unit, v, good, table, out);
  });
}

template <int Reach>
__global__ void neighboursOfVoxelsKernel(int64_t n, const int64_t* __restrict__ keys, Table table, int32_t* __restrict__ out) {
  constexpr int64_t columns = (2 * Reach + 1) * (2 * Reach + 1);
  gridStride(n * columns, [&](int64_t unit) { neighboursOfUnit<Reach>(unit, unpackKey(keys[unit / columns]), true, table, out); });
}

}  // namespace

VoxelHash buildCuda(Context& context, const Tensor& points, const Tensor& batch, const Grid& grid, const char* op) {
  const int64_t n = batch.numel();
  VoxelHash hash;
  Tensor keys = empty(context, DType::i64, {n}, op);
  hash.pointOrder = empty(context, DType::i32, {n}, op);
  hash.voxelOfPoint = empty(context, DType::i32, {n}, op);
  const Tensor starts = empty(context, DType::i64, {n + 1}, op);
  int64_t total = 0;
  if (n > 0) {
    dispatchFloat(points.dtype, op, [&](auto tag) {
      using T = typename decltype(tag)::type;
      launch(context, op, binKernel<T>, blocksFor(n), kThreads, n, points.data<T>(), batch.data<int64_t>(), typedGrid<T>(grid), keys.data<int64_t>(),
             hash.pointOrder.data<int32_t>(), complaintOf(context), op);
    });
    sort::radixSort(context, keys, hash.pointOrder, 3 * kCoordinateBits + kBatchBits, op);
    launch(context, op, countStarts, blocksFor(n), kThreads, n, keys.data<int64_t>(), starts.data<int64_t>());
    startsOf(context, starts, op);
    context.stream.queue->download(starts.data<int64_t>() + n, &total, sizeof(total), op);
  }
  const int64_t voxels = voxelsIn(total), columns = columnsIn(total), slots = slotsFor(columns);
  hash.keys = empty(context, DType::i64, {voxels}, op);
  hash.coordinates = empty(context, DType::i32, {voxels, 4}, op);
  hash.voxelOffsets = empty(context, DType::i32, {voxels + 1}, op);
  hash.table = empty(context, DType::i64, {slots, 2}, op);
  const Tensor columnStarts = empty(context, DType::i32, {columns + 1}, op), owners = empty(context, DType::i32, {slots}, op);
  const Table table = tableOf(hash.table);
  clear(context, owners, op);
  if (n == 0) {
    clear(context, hash.voxelOffsets, op);
  } else {
    const Parts out{hash.keys.data<int64_t>(), hash.coordinates.data<int32_t>(), hash.voxelOffsets.data<int32_t>(), hash.voxelOfPoint.data<int32_t>(),
                    columnStarts.data<int32_t>()};
    launch(context, op, emitVoxels, blocksFor(n), kThreads, n, keys.data<int64_t>(), hash.pointOrder.data<int32_t>(), starts.data<int64_t>(), out);
    launch(context, op, claimSlots, blocksFor(columns), kThreads, columns, columnStarts.data<int32_t>(), hash.keys.data<int64_t>(), table,
           owners.data<int32_t>());
  }
  launch(context, op, fillTable, blocksFor(slots), kThreads, columns, columnStarts.data<int32_t>(), hash.keys.data<int64_t>(), owners.data<int32_t>(), table);
  return hash;
}

void lookupCuda(Context& context, const Tensor& queries, const Tensor& batch, const Grid& grid, const Table& table, const Tensor& out, const char* op) {
  const int64_t n = batch.numel();
  if (n == 0) return;
  dispatchFloat(queries.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, lookupKernel<T>, blocksFor(n), kThreads, n, queries.data<T>(), batch.data<int64_t>(), typedGrid<T>(grid), table, out.data<int32_t>(),
           complaintOf(context), op, kQueries);
  });
}

void neighboursCuda(Context& context, const Tensor& queries, const Tensor& batch, const Grid& grid, const Table& table, const Tensor& out, const char* op) {
  const int64_t n = batch.numel();
  if (n == 0) return;
  dispatchFloat(queries.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, neighboursKernel<T>, blocksFor(n * 9), kThreads, n, queries.data<T>(), batch.data<int64_t>(), typedGrid<T>(grid), table,
           out.data<int32_t>(), complaintOf(context), op, kQueries);
  });
}

void neighboursOfVoxelsCuda(Context& context, const Tensor& keys, const Table& table, int64_t kernelSize, const Tensor& out, const char* op) {
  const int64_t n = keys.numel();
  if (n == 0) return;
  const auto kernel = kernelSize == 3 ? neighboursOfVoxelsKernel<1> : neighboursOfVoxelsKernel<2>;
  launch(context, op, kernel, blocksFor(n * kernelSize * kernelSize), kThreads, n, keys.data<int64_t>(), table, out.data<int32_t>());
}

}  // namespace md::voxel_hash
