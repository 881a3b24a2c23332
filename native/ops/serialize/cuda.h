// Kernels of cuda.cu.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::serialize {

/// Contiguous coordinates [n, 3] i32 and batch [n] i64; fills out.code and makes out.order their numbers, for sorting. A row
/// outside becomes code 0, and whoever waits next throws.
MD_CUDA_FUNCTION void encodeCuda(Context& context, const Tensor& coordinates, const Tensor& batch, Curve curve, int depth, const Serialization& out,
                                 const char* op);
/// inverse[order[i]] = i.
MD_CUDA_FUNCTION void invertCuda(Context& context, const Tensor& order, const Tensor& inverse, const char* op);

}  // namespace md::serialize
