// Voxel hash (Mini-Diffuser, Eqs. 15-16): points binned by floor((p - origin) / voxelSize), occupied voxels in key
// order, and an open-addressing table for look-ups.
#pragma once
#include "../../core/context.h"
#include "../../isa/isa.h"
#include "shared.h"

namespace md::voxel_hash {

/// V occupied voxels of P points, in the order of (batch, x, y, z).
struct VoxelHash {
  Tensor keys;          // i64 [V], ascending
  Tensor coordinates;   // i32 [V, 4]: batch, x, y, z
  Tensor voxelOfPoint;  // i32 [P]
  Tensor pointOrder;    // i32 [P]: points grouped by voxel, in their own order within one
  Tensor voxelOffsets;  // i32 [V + 1]: voxel v holds pointOrder[voxelOffsets[v] … voxelOffsets[v + 1])
  Tensor table;         // i64 [slots, 2]: shared.h says what an entry holds
};

/// points [P, 3] f32 or f64, pointBatch [P] i32 or i64. Binning is done in the dtype of the points. ValueError naming
/// the row for a coordinate that is not finite or a voxel beyond ±65536, and for a batch outside 0 … 4095.
VoxelHash build(Context& context, const Tensor& points, const Tensor& pointBatch, const Grid& grid, const char* op);

/// i32 [Q]: the voxel that each query of [Q, 3] lies in, -1 where it is empty. ValueError for a query that is not
/// finite; one beyond the grid is in no voxel.
Tensor lookup(Context& context, const Tensor& queries, const Tensor& queryBatch, const Tensor& table, const Grid& grid, const char* op);

/// i32 [Q, 27]: the voxels around each query (Eq. 16), dx slowest and dz fastest, each -1, 0, 1; -1 where empty.
Tensor neighbours(Context& context, const Tensor& queries, const Tensor& queryBatch, const Tensor& table, const Grid& grid, const char* op);

/// i32 [V, kernelSize^3]: the voxels around each voxel of `keys`, in the same order. ValueError unless kernelSize is 3 or 5.
Tensor neighboursOfVoxels(Context& context, const Tensor& keys, const Tensor& table, int64_t kernelSize, const char* op);

/// A contiguous table [slots, 2] as kernels see it.
Table tableOf(const Tensor& table);
/// A power of two: at most half of the slots are taken.
int64_t slotsFor(int64_t columns);

// Kernels of cpu.cpp.

/// The lowest and highest value of each field of the biased key: batch, x, y, z.
struct KeyRange {
  int64_t low[4] = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
  int64_t high[4] = {-1, -1, -1, -1};
};

/// Field widths that hold the range and no more: `code` keeps the order of keys in as few bits as possible.
struct CodeLayout {
  int64_t low[4];
  int bits[4];
};

/// Returns the first point that is in no voxel of the grid, or -1.
MD_KERNEL(int64_t, binPoints, DType dtype, const void* points, const int64_t* batch, int64_t begin, int64_t end, const Grid& grid,
          int64_t* keys, KeyRange& range)
MD_KERNEL(void, encodeKeys, const int64_t* keys, int64_t begin, int64_t end, const CodeLayout& layout, int64_t* codes, int32_t* order)
/// Number of sorted codes in [begin, end) that differ from the one before.
MD_KERNEL(int64_t, countVoxels, const int64_t* codes, int64_t begin, int64_t end)
/// `voxel` is the number of voxels that start before `begin`. Returns the number of columns that start in the range.
MD_KERNEL(int64_t, emitVoxels, const int64_t* codes, const int32_t* order, const int64_t* pointKeys, int64_t begin, int64_t end,
          int64_t voxel, int64_t* keys, int32_t* coordinates, int32_t* offsets, int32_t* voxelOfPoint)
MD_KERNEL(void, insertKeys, const int64_t* keys, int64_t count, const Table& table)
MD_KERNEL(void, lookupRows, DType dtype, const void* queries, const int64_t* batch, int64_t begin, int64_t end, const Grid& grid,
          const Table& table, int32_t* out)
MD_KERNEL(void, neighbourRows, DType dtype, const void* queries, const int64_t* batch, int64_t begin, int64_t end,
          const Grid& grid, const Table& table, int32_t* out)
MD_KERNEL(void, voxelNeighbourRows, const int64_t* keys, int64_t begin, int64_t end, const Table& table, int64_t kernelSize, int32_t* out)

}  // namespace md::voxel_hash
