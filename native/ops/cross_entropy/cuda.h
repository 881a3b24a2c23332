// Kernels of cuda.cu, over contiguous tensors with items and checked targets.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::cross_entropy {

MD_CUDA_FUNCTION void lossCuda(Context& context, double smoothing, const Tensor& logits, const Tensor& target, const Tensor& losses,
                               const Tensor& normalizers, const char* op);
/// `gradStep` and `scale` as in lossGradRange.
MD_CUDA_FUNCTION void lossGradCuda(Context& context, double smoothing, const Tensor& logits, const Tensor& target, const Tensor& normalizers,
                                   const Tensor& grad, int64_t gradStep, double scale, const Tensor& out, const char* op);

}  // namespace md::cross_entropy
