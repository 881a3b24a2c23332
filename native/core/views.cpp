#include "views.h"

#include <cstring>

#include "cuda/copy.h"

namespace md {
namespace {

// Strides for `shape` over x's memory (x has elements); false where only a copy will do. Groups of old axes and groups
// of new ones with the same product are matched from the left; the old ones of a group must be contiguous together.
bool reshapeStrides(const Tensor& x, const Dims& shape, Dims& stride) {
  Dims from, fromStride;
  for (int i = 0; i < x.rank(); i++) {
    if (x.shape[i] == 1) continue;
    from.push(x.shape[i]);
    fromStride.push(x.stride[i]);
  }
  stride.rank = shape.rank;
  int oldBegin = 0, newBegin = 0;
  while (newBegin < shape.rank && oldBegin < from.rank) {
    int oldEnd = oldBegin + 1, newEnd = newBegin + 1;
    int64_t oldCount = from[oldBegin], newCount = shape[newBegin];
    while (oldCount != newCount) {
      if (newCount < oldCount) {
        newCount *= shape[newEnd++];
      } else {
        oldCount *= from[oldEnd++];
      }
    }
    for (int i = oldBegin; i + 1 < oldEnd; i++) {
      if (fromStride[i] != from[i + 1] * fromStride[i + 1]) return false;
    }
    int64_t step = fromStride[oldEnd - 1];
    for (int i = newEnd - 1; i >= newBegin; i--) {
      stride[i] = step;
      step *= shape[i];
    }
    oldBegin = oldEnd;
    newBegin = newEnd;
  }
  for (; newBegin < shape.rank; newBegin++) stride[newBegin] = 1;
  return true;
}

}  // namespace

Tensor reshapeView(Context& context, const Tensor& x, const Dims& shape, const char* op) {
  if (shape.numel() != x.numel()) {
    fail(ErrorKind::shape, op, "shape ", x.shape.str(), " has ", x.numel(), " elements, expected ", shape.numel(), " for ", shape.str());
  }
  Tensor out = x;
  out.shape = shape;
  out.stride = contiguousStrides(shape);
  if (x.numel() == 0 || x.contiguous()) return out;
  Dims stride;
  if (reshapeStrides(x, shape, stride)) {
    out.stride = stride;
    return out;
  }
  Tensor copy = contiguous(context, x, op);
  copy.shape = shape;
  copy.stride = contiguousStrides(shape);
  return copy;
}

Tensor permuteView(const Tensor& x, const Dims& axes, const char* op) {
  Tensor out = x;
  bool seen[kMaxRank] = {};
  if (axes.rank != x.rank()) fail(ErrorKind::shape, op, "axes ", axes.str(), " do not fit shape ", x.shape.str());
  for (int i = 0; i < axes.rank; i++) {
    if (axes[i] < 0 || axes[i] >= x.rank() || seen[axes[i]]) {
      fail(ErrorKind::shape, op, "axes ", axes.str(), " are no permutation of the axes of ", x.shape.str());
    }
    seen[axes[i]] = true;
    out.shape[i] = x.shape[static_cast<int>(axes[i])];
    out.stride[i] = x.stride[static_cast<int>(axes[i])];
  }
  return out;
}

Tensor expandView(const Tensor& x, const Dims& shape, const char* op) {
  Tensor out = x;
  out.shape = shape;
  out.stride.rank = shape.rank;
  const int lead = shape.rank - x.rank();
  if (lead < 0) fail(ErrorKind::shape, op, "shape ", x.shape.str(), " cannot be expanded to ", shape.str());
  for (int i = 0; i < shape.rank; i++) {
    const bool broadcast = i < lead || (x.shape[i - lead] == 1 && shape[i] != 1);
    if (!broadcast && x.shape[i - lead] != shape[i]) {
      fail(ErrorKind::shape, op, "shape ", x.shape.str(), " cannot be expanded to ", shape.str());
    }
    out.stride[i] = broadcast ? 0 : x.stride[i - lead];
  }
  return out;
}

Tensor sliceView(const Tensor& x, const Dims& start, const Dims& extent, const Dims& step, const char* op) {
  Tensor out = x;
  if (start.rank != x.rank() || extent.rank != x.rank() || step.rank != x.rank()) {
    fail(ErrorKind::shape, op, "slices of ", start.rank, " axes, expected ", x.rank());
  }
  for (int i = 0; i < x.rank(); i++) {
    const bool inside = start[i] >= 0 && extent[i] >= 0 && step[i] >= 1 && start[i] <= x.shape[i] &&
                        (extent[i] == 0 || start[i] + (extent[i] - 1) * step[i] < x.shape[i]);
    if (!inside) {
      fail(ErrorKind::shape, op, "axis ", i, ": start ", start[i], ", extent ", extent[i], ", step ", step[i], " leave shape ", x.shape.str());
    }
    if (extent[i] > 0) out.offset += start[i] * x.stride[i];
    out.shape[i] = extent[i];
    out.stride[i] = x.stride[i] * step[i];
  }
  return out;
}

std::vector<Tensor> splitView(const Tensor& x, const Dims& sizes, int64_t givenAxis, const char* op) {
  const int axis = resolveAxis(givenAxis, x.rank(), op);
  int64_t total = 0;
  bool valid = true;
  for (int i = 0; i < sizes.rank; i++) {
    valid = valid && sizes[i] >= 0;
    total += sizes[i];
  }
  if (!valid || total != x.shape[axis]) fail(ErrorKind::shape, op, "sizes ", sizes.str(), " add up to ", total, ", expected ", x.shape[axis], " for axis ", axis);
  std::vector<Tensor> parts;
  int64_t begin = 0;
  for (int i = 0; i < sizes.rank; i++) {
    Tensor part = x;
    if (sizes[i] > 0) part.offset += begin * x.stride[axis];
    part.shape[axis] = sizes[i];
    begin += sizes[i];
    parts.push_back(std::move(part));
  }
  return parts;
}

namespace {

// Writes the contiguous elements at `from` into a layout, row by row of its last axis.
template <class T>
void scatterRows(const T* from, const Dims& shape, const Dims& stride, T* base) {
  const int last = shape.rank - 1;
  const int64_t inner = shape[last], step = stride[last], outer = shape.numel() / inner;
  Dims index;
  int64_t offset = 0;
  for (int64_t row = 0; row < outer; row++, from += inner) {
    if (step == 1) {
      std::memcpy(base + offset, from, static_cast<size_t>(inner) * sizeof(T));
    } else {
      for (int64_t i = 0; i < inner; i++) base[offset + i * step] = from[i];
    }
    for (int axis = last - 1; axis >= 0; axis--) {
      offset += stride[axis];
      if (++index[axis] < shape[axis]) break;
      offset -= stride[axis] * shape[axis];
      index[axis] = 0;
    }
  }
}

}  // namespace

Tensor sliceAdjoint(Context& context, const Tensor& gradient, const Dims& shape, const Dims& start, const Dims& step, const char* op) {
  const Tensor grad = contiguous(context, gradient, op);
  Tensor out = empty(context, grad.dtype, shape, op);
  clear(context, out, op);
  const Tensor view = sliceView(out, start, grad.shape, step, op);
  if (grad.numel() == 0) return out;
  if (context.onCuda()) {
    cuda::scatterStrided(context, grad.raw(), view, op);
    return out;
  }
  if (grad.rank() == 0) {
    copyInto(context, grad, out.raw(), op);
    return out;
  }
  dispatchSize(itemSize(grad.dtype), [&](auto tag) {
    using T = typename decltype(tag)::type;
    shareOutLater(context.pool, 1, [from = grad.data<T>(), shape = view.shape, stride = view.stride, to = view.data<T>()](int64_t, int64_t) {
      scatterRows(from, shape, stride, to);
    });
  });
  return out;
}

}  // namespace md
