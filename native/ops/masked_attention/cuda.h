// Kernels of cuda_*.cu, for head sizes up to kMostHeadDim. They take blocks of plan.h, as the CPU's do, but the scalar ones
// partial ones: a thread block has as many rows as its shared memory holds.
#pragma once
#include "../../core/cuda/backend.h"
#include "plan.h"

namespace md::masked_attention {

constexpr int64_t kMostHeadDim = 128;

/// fragments: on matrix units, for f16 and bf16; scalar for everything.
enum class CudaKernel { fragments, scalar };
struct CudaPlan {
  CudaKernel kernel;
  const char* reason;
};
/// Which kernels compute a call, forward and backward, and why.
MD_CUDA_FUNCTION CudaPlan planCuda(const Context& context, DType dtype);

MD_CUDA_FUNCTION void forwardCuda(Context& context, const CudaPlan& cuda, const Problem& problem, const BlockList& queries, const Rows& out,
                                  void* logSumExp, const char* op);

/// Gradients of the prepared rows of q and k, and of v.
MD_CUDA_FUNCTION void backwardCuda(Context& context, const CudaPlan& cuda, const Problem& problem, const Plan& plan, const BackwardRows& rows,
                                   const char* op);

/// Turns the gradient `grad` of prepared rows of x [B, H, T, D] into that of x, in place; dWeight and dBias [D] are null
/// where there is no norm.
MD_CUDA_FUNCTION void prepareGradCuda(Context& context, const Tensor& x, const Preparation& preparation, const Tensor& grad, void* dWeight, void* dBias,
                                      const char* op);

}  // namespace md::masked_attention
