// Kernels of cuda.cu. Operands are contiguous but where a Loop says how they lie.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::elementwise {

MD_CUDA_FUNCTION void unaryCuda(Context& context, Unary kind, const Tensor& x, const Tensor& out, double a, double b, const char* op);
MD_CUDA_FUNCTION void unaryGradCuda(Context& context, Unary kind, const Tensor& x, const Tensor& grad, const Tensor& out, double a, double b, const char* op);
MD_CUDA_FUNCTION void binaryCuda(Context& context, Binary kind, const Loop& loop, const Tensor& a, const Tensor& b, const Tensor& out, const char* op);
MD_CUDA_FUNCTION void whereCuda(Context& context, const Loop& loop, const Tensor& condition, const Tensor& a, const Tensor& b, const Tensor& out, const char* op);
MD_CUDA_FUNCTION void castCuda(Context& context, const Tensor& x, const Tensor& out, const char* op);
MD_CUDA_FUNCTION void fillCuda(Context& context, const Tensor& out, double value, const char* op);

}  // namespace md::elementwise
