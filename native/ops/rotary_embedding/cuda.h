// Kernels of cuda.cu.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::rotary_embedding {

/// `pairs` an axis; xyz and out contiguous.
MD_CUDA_FUNCTION void tableCuda(Context& context, const Tensor& xyz, int64_t pairs, double scale, double base, const Tensor& out, const char* op);
MD_CUDA_FUNCTION void applyCuda(Context& context, const RowLoop& loop, const Tensor& x, const Tensor& table, bool inverse, const Tensor& out, const char* op);

}  // namespace md::rotary_embedding
