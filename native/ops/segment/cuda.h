// Kernels of cuda.cu, over contiguous tensors. A thread owns one column of a segment, or of a row, and sums in its order.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::segment {

/// A copy of offsets (i32 [segments + 1]) that lies in [0, rows]; whoever waits next throws if it does not rise from 0 to
/// rows, or where `nonempty` if a segment has no rows.
MD_CUDA_FUNCTION Tensor checkedOffsetsCuda(Context& context, const Tensor& offsets, int64_t rows, bool nonempty, const char* op);
/// Likewise of order (i32 [rows]), which must hold each row once.
MD_CUDA_FUNCTION Tensor checkedOrderCuda(Context& context, const Tensor& order, const char* op);
/// Rows and all tensors as the CPU's kernels take them.
MD_CUDA_FUNCTION void reduceCuda(Context& context, const Rows& rows, int64_t segments, Reduction reduction, const Tensor& x, const Tensor& out, const char* op);
/// Only to the elements of the rows in `chosen` (i32, of grad's shape), unless that is null.
MD_CUDA_FUNCTION void spreadCuda(Context& context, const Rows& rows, int64_t segments, Reduction reduction, const int32_t* chosen, const Tensor& grad,
                                 const Tensor& out, const char* op);
MD_CUDA_FUNCTION void maxCuda(Context& context, const Rows& rows, int64_t segments, const Tensor& x, const Maximum& out, const char* op);

}  // namespace md::segment
