// Kernels of cuda.cu.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::matmul {

/// The product at every index of `batch`; what GemmArgs allows, no extent 0.
MD_CUDA_FUNCTION void gemmCuda(Context& context, const GemmArgs& args, const Batch& batch, const char* op);

}  // namespace md::matmul
