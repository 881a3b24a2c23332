// The voxel grid's maths, compiled for every device: binning, the packed key, and the hash that picks a slot.
#pragma once
#include <cstdint>
#include <limits>

#include "../../core/host_device.h"

namespace md::voxel_hash {

// Functions have internal linkage, so that no instruction set's copy can stand in for another's.

// A key is (batch, x, y, z) in 12 + 17 + 17 + 17 bits, coordinates biased to be unsigned: keys are not negative, and
// their order is the lexicographic order of (batch, x, y, z).
constexpr int kCoordinateBits = 17;
constexpr int kBatchBits = 12;
constexpr int32_t kCoordinateLimit = 1 << (kCoordinateBits - 1);  // -limit <= coordinate < limit
constexpr int64_t kBatchLimit = int64_t{1} << kBatchBits;         // 0 <= batch < limit
constexpr int32_t kOutside = 4 * kCoordinateLimit;                // a coordinate none of whose neighbours is inside
constexpr int kNeighbours = 27;
constexpr int64_t kEmptySlot = -1;

struct Grid {
  double voxelSize;
  double origin[3];
};

struct Voxel {
  int64_t batch;
  int32_t x, y, z;
};

// The table maps columns, not voxels: 32 voxels in a row along z are one entry of two words, the column's exact key and
// (occupied bits << 32 | index of the first voxel). Voxels are in key order, so an index is the first plus the number of
// lower bits: a 27-neighbourhood takes nine look-ups, and an empty answer needs no second memory access.
constexpr int kColumnBits = 5;
constexpr int kColumn = 1 << kColumnBits;

/// Open addressing over a power of two of slots; an empty one has key kEmptySlot and no bits.
struct Table {
  int64_t* entries;  // [slots, 2]
  int64_t slots;
  int shift;  // 64 - log2(slots)
};

MD_HOST_DEVICE static inline bool insideGrid(int32_t coordinate) { return coordinate >= -kCoordinateLimit && coordinate < kCoordinateLimit; }

/// floor((p - origin) / voxelSize) in T; ±kOutside beyond the grid and for NaN.
template <class T>
MD_HOST_DEVICE static inline int32_t binOf(T p, T origin, T voxelSize) {
  const T bin = (p - origin) / voxelSize;
  if (!(bin >= T(-kCoordinateLimit - 1))) return -kOutside;
  if (!(bin < T(kCoordinateLimit + 1))) return kOutside;
  const int32_t truncated = static_cast<int32_t>(bin);
  return truncated - (bin < static_cast<T>(truncated) ? 1 : 0);
}

/// Whether a voxel has a key.
MD_HOST_DEVICE static inline bool inside(const Voxel& v) {
  return v.batch >= 0 && v.batch < kBatchLimit && insideGrid(v.x) && insideGrid(v.y) && insideGrid(v.z);
}

/// A grid in the dtype of the points.
template <class T>
struct TypedGrid {
  T size, origin[3];
};
template <class T>
MD_HOST_DEVICE static inline TypedGrid<T> typedGrid(const Grid& grid) {
  return {static_cast<T>(grid.voxelSize), {static_cast<T>(grid.origin[0]), static_cast<T>(grid.origin[1]), static_cast<T>(grid.origin[2])}};
}

/// The voxel of the point p[0 … 2], which may lie outside.
template <class T>
MD_HOST_DEVICE static inline Voxel voxelAt(const TypedGrid<T>& grid, const T* p, int64_t batch) {
  return {batch, binOf(p[0], grid.origin[0], grid.size), binOf(p[1], grid.origin[1], grid.size), binOf(p[2], grid.origin[2], grid.size)};
}

/// Whether a query is in some voxel, whatever the grid.
template <class T>
MD_HOST_DEVICE static inline bool validQuery(const T* p, int64_t batch) {
  constexpr T most = std::numeric_limits<T>::max();
  for (int axis = 0; axis < 3; axis++) {
    if (!(p[axis] >= -most && p[axis] <= most)) return false;
  }
  return batch >= 0 && batch < kBatchLimit;
}

/// The voxel of query i, which may lie outside the grid; false where there is none.
template <class T>
MD_HOST_DEVICE static inline bool queryVoxel(const TypedGrid<T>& grid, const T* queries, const int64_t* batch, int64_t i, Voxel& v) {
  v = voxelAt(grid, queries + 3 * i, batch[i]);
  return validQuery(queries + 3 * i, batch[i]);
}

MD_HOST_DEVICE static inline int64_t packKey(const Voxel& v) {
  return ((v.batch << kCoordinateBits | (v.x + kCoordinateLimit)) << kCoordinateBits | (v.y + kCoordinateLimit)) << kCoordinateBits |
         (v.z + kCoordinateLimit);
}

MD_HOST_DEVICE static inline Voxel unpackKey(int64_t key) {
  constexpr int64_t mask = (int64_t{1} << kCoordinateBits) - 1;
  return {key >> 3 * kCoordinateBits, static_cast<int32_t>(key >> 2 * kCoordinateBits & mask) - kCoordinateLimit,
          static_cast<int32_t>(key >> kCoordinateBits & mask) - kCoordinateLimit, static_cast<int32_t>(key & mask) - kCoordinateLimit};
}

/// The column of a voxel inside the grid; y is lowest, so that the hash can keep its neighbours together.
MD_HOST_DEVICE static inline int64_t columnKey(const Voxel& v) {
  const int64_t block = (v.z + kCoordinateLimit) >> kColumnBits;
  return ((v.batch << kCoordinateBits | (v.x + kCoordinateLimit)) << (kCoordinateBits - kColumnBits) | block) << kCoordinateBits |
         (v.y + kCoordinateLimit);
}

/// Position of a voxel within its column.
MD_HOST_DEVICE static inline int columnPlace(int32_t z) { return (z + kCoordinateLimit) & (kColumn - 1); }

/// Where the search for a column starts. Four neighbours along y share a cache line.
MD_HOST_DEVICE static inline int64_t slotOf(int64_t column, const Table& table) {
  const uint64_t mixed = (static_cast<uint64_t>(column) >> 2) * 0x9E3779B97F4A7C15u;
  return static_cast<int64_t>(mixed >> table.shift & ~uint64_t{3}) | (column & 3);
}

/// The next slot to try. Odd, so that all slots are reached; more than four, so that neighbours which met a taken place
/// move on together instead of into each other's.
MD_HOST_DEVICE static inline int64_t nextSlot(int64_t slot, const Table& table) { return (slot + 5) & (table.slots - 1); }

/// The entry of the column with this very key: occupied bits << 32 | index of its first voxel; no bits if there is none.
MD_HOST_DEVICE static inline uint64_t findColumn(int64_t column, const Table& table) {
  int64_t slot = slotOf(column, table);
  for (int64_t probes = 0; probes < table.slots; probes++) {
    const int64_t found = table.entries[2 * slot];
    // One branch, seldom missed: whether a column is occupied is anyone's guess, that its first slot answers is not.
    if (static_cast<int>(found == column) | static_cast<int>(found == kEmptySlot)) return static_cast<uint64_t>(table.entries[2 * slot + 1]);
    slot = nextSlot(slot, table);
  }
  return 0;
}

MD_HOST_DEVICE static inline uint32_t countBits(uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return static_cast<uint32_t>(__popc(bits));
#else
  return static_cast<uint32_t>(__builtin_popcount(bits));
#endif
}

/// Index of a voxel inside the grid, -1 if it is empty.
MD_HOST_DEVICE static inline int32_t findVoxel(const Voxel& v, const Table& table) {
  const uint64_t entry = findColumn(columnKey(v), table);
  const uint32_t bits = static_cast<uint32_t>(entry >> 32), bit = uint32_t{1} << columnPlace(v.z);
  return bits & bit ? static_cast<int32_t>(static_cast<uint32_t>(entry) + countBits(bits & (bit - 1))) : -1;
}

/// The same of any voxel.
MD_HOST_DEVICE static inline int32_t findInGrid(const Voxel& v, const Table& table) { return inside(v) ? findVoxel(v, table) : -1; }

/// The voxels (x, y, v.z - Reach … v.z + Reach) of v's item.
template <int Reach>
MD_HOST_DEVICE static inline void neighboursAlongZ(const Voxel& v, int32_t x, int32_t y, const Table& table, int32_t* out) {
  constexpr int size = 2 * Reach + 1;
  const int32_t low = v.z - Reach, high = v.z + Reach;
  if (insideGrid(x) && insideGrid(y) && insideGrid(low) && insideGrid(high)) {
    const int place = columnPlace(low);
    const uint64_t entry = findColumn(columnKey({v.batch, x, y, low}), table);
    const uint32_t bits = static_cast<uint32_t>(entry >> 32);
    uint32_t window = bits >> place, index = static_cast<uint32_t>(entry) + countBits(bits & ((uint32_t{1} << place) - 1));
    if (place + size > kColumn) {  // the next column's voxels follow this one's
      const uint64_t next = findColumn(columnKey({v.batch, x, y, high}), table);
      window |= static_cast<uint32_t>(next >> 32) << (kColumn - place);
      if (bits == 0) index = static_cast<uint32_t>(next);
    }
    for (int dz = 0; dz < size; dz++) {
      const uint32_t occupied = window >> dz & 1;
      out[dz] = static_cast<int32_t>(occupied ? index : ~uint32_t{0});
      index += occupied;
    }
  } else {
    for (int32_t dz = 0; dz < size; dz++) out[dz] = findInGrid({v.batch, x, y, low + dz}, table);
  }
}

}  // namespace md::voxel_hash
