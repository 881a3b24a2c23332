// Copies between layouts on a CUDA device.
#pragma once
#include "../context.h"
#include "backend.h"

namespace md::cuda {

/// Any layout of x into contiguous `out`.
MD_CUDA_FUNCTION void gatherStrided(Context& context, const Tensor& x, void* out, const char* op);
/// Contiguous `from` into any layout of `to`, whose elements lie apart.
MD_CUDA_FUNCTION void scatterStrided(Context& context, const void* from, const Tensor& to, const char* op);
/// DeviceError where a fault has ended the context's device.
MD_CUDA_FUNCTION void requireLive(const Context& context, const char* op);

}  // namespace md::cuda
