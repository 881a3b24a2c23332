// Kernels of cuda.cu and cuda_fragments.cu.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::matmul {

/// cublas, else one of our own: fragments on matrix units, scalar for everything.
enum class CudaKernel { cublas, fragments, scalar };
struct CudaPlan {
  CudaKernel kernel;
  const char* reason;
};

/// Which kernel takes the product, and why.
MD_CUDA_FUNCTION CudaPlan planCuda(const Context& context, const GemmArgs& args, const Batch& batch);

/// The product at every index of `batch`; what GemmArgs allows, no extent 0.
MD_CUDA_FUNCTION void gemmCuda(Context& context, const GemmArgs& args, const Batch& batch, const CudaPlan& plan, const char* op);

}  // namespace md::matmul
