// Kernels of cuda.cu, over contiguous rows: positions [n, 3] f32 or f64, batch [n] i64. A row that cannot be binned has no
// neighbours, and whoever waits next throws.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::voxel_hash {

/// Waits once, for the numbers of voxels and columns.
MD_CUDA_FUNCTION VoxelHash buildCuda(Context& context, const Tensor& points, const Tensor& batch, const Grid& grid, const char* op);
MD_CUDA_FUNCTION void lookupCuda(Context& context, const Tensor& queries, const Tensor& batch, const Grid& grid, const Table& table, const Tensor& out,
                                 const char* op);
MD_CUDA_FUNCTION void neighboursCuda(Context& context, const Tensor& queries, const Tensor& batch, const Grid& grid, const Table& table, const Tensor& out,
                                     const char* op);
MD_CUDA_FUNCTION void neighboursOfVoxelsCuda(Context& context, const Tensor& keys, const Table& table, int64_t kernelSize, const Tensor& out, const char* op);

}  // namespace md::voxel_hash
