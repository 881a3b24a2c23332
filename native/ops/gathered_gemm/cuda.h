// Kernels of cuda.cu and cuda_fragments.cu. A pair that leaves its block or its rows is left out, and whoever waits next throws.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::gathered_gemm {

/// Contiguous neighbours [outputs, K]. Unless `roomy`, waits once, for the number of pairs.
MD_CUDA_FUNCTION PairMap mapPairsCuda(Context& context, const Tensor& neighbours, int64_t inputs, bool roomy, const char* op);
/// Whoever waits next throws unless the starts rise from 0 to at most count. Below, count is the room of the map likewise.
MD_CUDA_FUNCTION void checkStartsCuda(Context& context, const Pairs& pairs, int64_t count, const char* op);
/// The pairs the other way round.
MD_CUDA_FUNCTION PairMap transposeCuda(Context& context, const Pairs& pairs, int64_t count, const char* op);

/// fragments: on matrix units, for f16 and bf16; scalar for everything, f16 and bf16 by way of f32.
enum class CudaKernel { fragments, scalar };
struct CudaPlan {
  CudaKernel kernel;
  const char* reason;
};
/// Which kernels compute products and gradients of the weight, and why.
MD_CUDA_FUNCTION CudaPlan planCuda(const Context& context, DType dtype);

/// Contiguous x and bias (or null) into out [outputs, columns].
MD_CUDA_FUNCTION void multiplyCuda(Context& context, const CudaPlan& cuda, const Pairs& pairs, int64_t count, const Tensor& x, const Matrices& weight,
                                   const Tensor* bias, const Tensor& out, const char* op);
MD_CUDA_FUNCTION void weightGradCuda(Context& context, const CudaPlan& cuda, const Pairs& pairs, int64_t count, const Tensor& x, const Tensor& grad,
                                     const Matrices& weight, const char* op);

}  // namespace md::gathered_gemm
