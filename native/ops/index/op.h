// Reading and adding by index: cat, rows of one axis (indexSelect, indexAdd), single elements of one axis (gather,
// scatterAdd), one-hot rows. Indices are i32 or i64 and checked; ValueError names the first one out of range.
#pragma once
#include <span>

#include "../../core/axis.h"
#include "../../core/context.h"
#include "../../isa/isa.h"

namespace md::index {

/// Joins tensors of one dtype along `axis`; their other extents agree. At least one tensor, none of rank 0.
Tensor cat(Context& context, std::span<const Tensor> parts, int64_t axis, const char* op);

/// out[…, i, …] = x[…, index[i], …] along `axis`; index [K]. Any dtype.
Tensor indexSelect(Context& context, const Tensor& x, const Tensor& index, int64_t axis, const char* op);

/// A copy of x with out[…, index[i], …] += source[…, i, …], in the order of i. Numbers of one dtype.
Tensor indexAdd(Context& context, const Tensor& x, const Tensor& index, const Tensor& source, int64_t axis, const char* op);

/// The same onto zeros with `extent` along `axis`: the gradient of indexSelect.
Tensor indexSelectGrad(Context& context, const Tensor& grad, const Tensor& index, int64_t extent, int64_t axis, const char* op);

/// out[p] = x[p with p[axis] = index[p]]; index has x's rank and, but for `axis`, at most its extents. Any dtype.
Tensor gather(Context& context, const Tensor& x, const Tensor& index, int64_t axis, const char* op);

/// A copy of x with out[p with p[axis] = index[p]] += source[p], in the order of p; source has the shape of index.
Tensor scatterAdd(Context& context, const Tensor& x, const Tensor& index, const Tensor& source, int64_t axis, const char* op);

/// The same onto zeros of `shape`: the gradient of gather, sort and topk.
Tensor gatherGrad(Context& context, const Tensor& grad, const Tensor& index, const Dims& shape, int64_t axis, const char* op);

/// [...shape of index, classes] of `dtype`: 1 at the index, 0 elsewhere.
Tensor oneHot(Context& context, const Tensor& index, int64_t classes, DType dtype, const char* op);

// Kernels of cpu.cpp.

/// Elements of `index` walked row by row; `data` moves with every axis but the indexed one, where the index leads.
struct IndexLoop {
  int rank;
  int64_t extent[kMaxRank];
  int64_t data[kMaxRank];  // element strides; 0 for the indexed axis
  int64_t index[kMaxRank];
  int64_t value[kMaxRank];  // of gather's output or scatterAdd's source
  int64_t along;            // stride of the indexed axis of data
};

/// First element that is not in [0, limit), or -1.
MD_KERNEL(int64_t, findOutside, DType dtype, const void* index, int64_t count, int64_t limit)
/// Rows [begin, end) of the flattened [outer, count] output; split is x's.
MD_KERNEL(void, selectRows, size_t itemBytes, const void* x, const int64_t* index, int64_t count, const AxisSplit& split,
          int64_t begin, int64_t end, void* out)
/// Adds for outer indices [begin, end) the rows whose target is `part` modulo `parts`.
MD_KERNEL(void, addRows, DType dtype, const void* source, const int64_t* index, int64_t count, const AxisSplit& split, int64_t begin,
          int64_t end, int64_t part, int64_t parts, void* out)
MD_KERNEL(void, gatherLoop, size_t itemBytes, const IndexLoop& loop, const void* data, const int64_t* index, void* value)
MD_KERNEL(void, scatterAddLoop, DType dtype, const IndexLoop& loop, void* data, const int64_t* index, const void* value)
MD_KERNEL(void, setOnes, DType dtype, const int64_t* index, int64_t begin, int64_t end, int64_t classes, void* out)

}  // namespace md::index
