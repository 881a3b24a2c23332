#include "op.h"

namespace md::voxel_hash::MD_ISA {
namespace {

void widen(KeyRange& range, int field, int64_t value) {
  range.low[field] = value < range.low[field] ? value : range.low[field];
  range.high[field] = value > range.high[field] ? value : range.high[field];
}

template <class T>
int64_t binPointsOf(const T* points, const int64_t* batch, int64_t begin, int64_t end, const TypedGrid<T>& grid, int64_t* keys, KeyRange& range) {
  KeyRange local = range;  // in registers, not in memory beside another thread's
  for (int64_t i = begin; i < end; i++) {
    const Voxel v = voxelAt(grid, points + 3 * i, batch[i]);
    if (!inside(v)) return i;
    keys[i] = packKey(v);
    widen(local, 0, v.batch);
    widen(local, 1, v.x + kCoordinateLimit);
    widen(local, 2, v.y + kCoordinateLimit);
    widen(local, 3, v.z + kCoordinateLimit);
  }
  range = local;
  return -1;
}

// The voxels up to Reach away along each axis, x slowest and z fastest.
template <int Reach>
void neighboursOf(const Voxel& v, const Table& table, int32_t* out) {
  for (int32_t x = v.x - Reach; x <= v.x + Reach; x++) {
    for (int32_t y = v.y - Reach; y <= v.y + Reach; y++, out += 2 * Reach + 1) neighboursAlongZ<Reach>(v, x, y, table, out);
  }
}

// Asks for the slots that the neighbourhood of `v` starts to search at, so that the misses of several overlap.
template <int Reach>
void prefetchNeighbours(const Voxel& v, const Table& table) {
  for (int32_t x = v.x - Reach; x <= v.x + Reach; x++) {
    for (int32_t y = v.y - Reach; y <= v.y + Reach; y++) {
      __builtin_prefetch(table.entries + 2 * slotOf(columnKey({v.batch, x, y, v.z}), table));
    }
  }
}

// The neighbours of voxelOf(i) for rows [begin, end).
template <int Reach, class F>
void eachNeighbourhood(int64_t begin, int64_t end, const Table& table, int32_t* out, F&& voxelOf) {
  constexpr int64_t kAhead = 8, neighbours = (2 * Reach + 1) * (2 * Reach + 1) * (2 * Reach + 1);
  Voxel voxels[kAhead];
  for (int64_t first = begin; first < end; first += kAhead) {
    const int64_t last = first + kAhead < end ? first + kAhead : end;
    for (int64_t i = first; i < last; i++) {
      voxels[i - first] = voxelOf(i);
      prefetchNeighbours<Reach>(voxels[i - first], table);
    }
    for (int64_t i = first; i < last; i++) neighboursOf<Reach>(voxels[i - first], table, out + i * neighbours);
  }
}

template <class T>
void lookupRowsOf(const T* queries, const int64_t* batch, int64_t begin, int64_t end, const TypedGrid<T>& grid, const Table& table, int32_t* out) {
  for (int64_t i = begin; i < end; i++) out[i] = findInGrid(voxelAt(grid, queries + 3 * i, batch[i]), table);
}

template <class T>
void neighbourRowsOf(const T* queries, const int64_t* batch, int64_t begin, int64_t end, const TypedGrid<T>& grid, const Table& table, int32_t* out) {
  eachNeighbourhood<1>(begin, end, table, out, [&](int64_t i) { return voxelAt(grid, queries + 3 * i, batch[i]); });
}

}  // namespace

int64_t binPoints(DType dtype, const void* points, const int64_t* batch, int64_t begin, int64_t end, const Grid& grid, int64_t* keys, KeyRange& range) {
  if (dtype == DType::f32) return binPointsOf(static_cast<const float*>(points), batch, begin, end, typedGrid<float>(grid), keys, range);
  return binPointsOf(static_cast<const double*>(points), batch, begin, end, typedGrid<double>(grid), keys, range);
}

void encodeKeys(const int64_t* keys, int64_t begin, int64_t end, const CodeLayout& layout, int64_t* codes, int32_t* order) {
  constexpr int64_t mask = (int64_t{1} << kCoordinateBits) - 1;
  for (int64_t i = begin; i < end; i++) {
    const int64_t key = keys[i];
    int64_t code = (key >> 3 * kCoordinateBits) - layout.low[0];
    code = code << layout.bits[1] | ((key >> 2 * kCoordinateBits & mask) - layout.low[1]);
    code = code << layout.bits[2] | ((key >> kCoordinateBits & mask) - layout.low[2]);
    codes[i] = code << layout.bits[3] | ((key & mask) - layout.low[3]);
    order[i] = static_cast<int32_t>(i);
  }
}

int64_t countVoxels(const int64_t* codes, int64_t begin, int64_t end) {
  int64_t count = begin == 0 && end > 0 ? 1 : 0;
  for (int64_t i = begin > 0 ? begin : 1; i < end; i++) count += codes[i] != codes[i - 1];
  return count;
}

int64_t emitVoxels(const int64_t* codes, const int32_t* order, const int64_t* pointKeys, int64_t begin, int64_t end, int64_t voxel,
                   int64_t* keys, int32_t* coordinates, int32_t* offsets, int32_t* voxelOfPoint) {
  int64_t columns = 0;
  for (int64_t i = begin; i < end; i++) {
    if (i == 0 || codes[i] != codes[i - 1]) {
      const int64_t key = pointKeys[order[i]];
      const Voxel v = unpackKey(key);
      columns += i == 0 || key >> kColumnBits != pointKeys[order[i - 1]] >> kColumnBits;
      keys[voxel] = key;
      coordinates[4 * voxel] = static_cast<int32_t>(v.batch);
      coordinates[4 * voxel + 1] = v.x;
      coordinates[4 * voxel + 2] = v.y;
      coordinates[4 * voxel + 3] = v.z;
      offsets[voxel++] = static_cast<int32_t>(i);
    }
    voxelOfPoint[order[i]] = static_cast<int32_t>(voxel - 1);
  }
  return columns;
}

void insertKeys(const int64_t* keys, int64_t count, const Table& table) {
  for (int64_t slot = 0; slot < table.slots; slot++) {
    table.entries[2 * slot] = kEmptySlot;
    table.entries[2 * slot + 1] = 0;
  }
  int64_t slot = 0;
  for (int64_t voxel = 0; voxel < count; voxel++) {
    const Voxel v = unpackKey(keys[voxel]);
    if (voxel == 0 || keys[voxel] >> kColumnBits != keys[voxel - 1] >> kColumnBits) {
      const int64_t column = columnKey(v);
      slot = slotOf(column, table);
      while (table.entries[2 * slot] != kEmptySlot) slot = nextSlot(slot, table);
      table.entries[2 * slot] = column;
      table.entries[2 * slot + 1] = voxel;
    }
    table.entries[2 * slot + 1] |= int64_t{1} << (32 + columnPlace(v.z));
  }
}

void lookupRows(DType dtype, const void* queries, const int64_t* batch, int64_t begin, int64_t end, const Grid& grid,
                const Table& table, int32_t* out) {
  if (dtype == DType::f32) return lookupRowsOf(static_cast<const float*>(queries), batch, begin, end, typedGrid<float>(grid), table, out);
  lookupRowsOf(static_cast<const double*>(queries), batch, begin, end, typedGrid<double>(grid), table, out);
}

void neighbourRows(DType dtype, const void* queries, const int64_t* batch, int64_t begin, int64_t end, const Grid& grid,
                   const Table& table, int32_t* out) {
  if (dtype == DType::f32) return neighbourRowsOf(static_cast<const float*>(queries), batch, begin, end, typedGrid<float>(grid), table, out);
  neighbourRowsOf(static_cast<const double*>(queries), batch, begin, end, typedGrid<double>(grid), table, out);
}

void voxelNeighbourRows(const int64_t* keys, int64_t begin, int64_t end, const Table& table, int64_t kernelSize, int32_t* out) {
  const auto voxelOf = [&](int64_t i) { return unpackKey(keys[i]); };
  if (kernelSize == 3) {
    eachNeighbourhood<1>(begin, end, table, out, voxelOf);
  } else {
    eachNeighbourhood<2>(begin, end, table, out, voxelOf);
  }
}

}  // namespace md::voxel_hash::MD_ISA
