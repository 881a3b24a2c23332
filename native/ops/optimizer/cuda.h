// Kernels of cuda.cu: one launch for many tensors. All are contiguous and on the context's device.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::optimizer {

MD_CUDA_FUNCTION void adamwCuda(Context& context, const std::vector<Tensor>& parameters, const std::vector<Tensor>& grads,
                                const std::vector<Tensor>& expAvgs, const std::vector<Tensor>& expAvgSqs, const AdamWFactors& factors, const char* op);
MD_CUDA_FUNCTION void adamwCuda(Context& context, const std::vector<Tensor>& parameters, const std::vector<Tensor>& grads,
                                const std::vector<Tensor>& expAvgs, const std::vector<Tensor>& expAvgSqs, const AdamWConstants& constants,
                                const AdamWTensors& tensors, const char* op);
MD_CUDA_FUNCTION void emaCuda(Context& context, const std::vector<Tensor>& averages, const std::vector<Tensor>& tensors, double decay, const char* op);
/// √ of the sum of squares of all elements, to f64 [].
MD_CUDA_FUNCTION void globalNormCuda(Context& context, const std::vector<Tensor>& tensors, const Tensor& norm, const char* op);

}  // namespace md::optimizer
