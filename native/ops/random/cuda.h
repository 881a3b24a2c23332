// Kernels of cuda.cu: the numbers of cpu.cpp, to the bit. Outputs are contiguous.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::random {

MD_CUDA_FUNCTION void uniformCuda(Context& context, Stream stream, double low, double high, const Tensor& out, const char* op);
MD_CUDA_FUNCTION void normalCuda(Context& context, Stream stream, double mean, double std, const Tensor& out, const char* op);
MD_CUDA_FUNCTION void randintCuda(Context& context, Stream stream, int64_t low, uint64_t count, const Tensor& out, const char* op);
MD_CUDA_FUNCTION void bernoulliCuda(Context& context, Stream stream, uint64_t threshold, const Tensor& out, const char* op);
MD_CUDA_FUNCTION void dropoutCuda(Context& context, Stream stream, uint64_t threshold, double scale, const Tensor& x, const Tensor& out, const char* op);

}  // namespace md::random
