#include "cuda.h"

#include "../../core/cuda/launch.h"

namespace md::index {
namespace {

using namespace md::cuda;

__global__ void checkIndex(int64_t n, const int64_t* __restrict__ index, int64_t* __restrict__ out, int64_t limit, Complaint* complaint, const char* op) {
  gridStride(n, [&](int64_t i) {
    const int64_t value = index[i];
    const bool inside = value >= 0 && value < limit;
    out[i] = inside ? value : 0;
    if (!inside) complain(complaint, op, Wrong::index, i, value, limit);
  });
}

template <class T>
__global__ void selectKernel(int64_t n, AxisSplit split, int64_t count, const T* __restrict__ x, const int64_t* __restrict__ index, T* __restrict__ out) {
  gridStride(n, [&](int64_t i) {
    const int64_t row = i / split.inner;
    out[i] = x[(row / count * split.extent + index[row % count]) * split.inner + i % split.inner];
  });
}

/// A thread owns one place of every row of one outer index.
template <class T>
__global__ void addKernel(AxisSplit split, int64_t count, const int64_t* __restrict__ index, const T* __restrict__ source, T* out) {
  gridStride(split.outer * split.inner, [&](int64_t unit) {
    const int64_t outer = unit / split.inner, place = unit % split.inner;
    for (int64_t i = 0; i < count; i++) {
      T& target = out[(outer * split.extent + index[i]) * split.inner + place];
      target = static_cast<T>(target + source[(outer * count + i) * split.inner + place]);
    }
  });
}

struct Offsets {
  int64_t data = 0, index = 0, value = 0;
};
__device__ Offsets offsetsOf(const IndexLoop& loop, int64_t i, int without) {
  Offsets at;
  for (int axis = loop.rank - 1; axis >= 0; axis--) {
    if (axis == without) continue;
    const int64_t k = i % loop.extent[axis];
    i /= loop.extent[axis];
    at.data += k * loop.data[axis];
    at.index += k * loop.index[axis];
    at.value += k * loop.value[axis];
  }
  return at;
}

template <class T>
__global__ void gatherKernel(int64_t n, IndexLoop loop, const T* __restrict__ x, const int64_t* __restrict__ index, T* __restrict__ out) {
  gridStride(n, [&](int64_t i) {
    const Offsets at = offsetsOf(loop, i, -1);
    out[at.value] = x[at.data + index[at.index] * loop.along];
  });
}

/// A thread owns one line along the indexed axis.
template <class T>
__global__ void scatterAddKernel(int64_t lines, IndexLoop loop, int axis, const int64_t* __restrict__ index, const T* __restrict__ source, T* out) {
  gridStride(lines, [&](int64_t line) {
    const Offsets at = offsetsOf(loop, line, axis);
    for (int64_t k = 0; k < loop.extent[axis]; k++) {
      T& target = out[at.data + index[at.index + k * loop.index[axis]] * loop.along];
      target = static_cast<T>(target + source[at.value + k * loop.value[axis]]);
    }
  });
}

template <class T>
__global__ void oneHotKernel(int64_t n, int64_t classes, const int64_t* __restrict__ index, T* __restrict__ out) {
  gridStride(n, [&](int64_t i) { out[i] = static_cast<T>(index[i / classes] == i % classes); });
}

}  // namespace

Tensor checkedIndexCuda(Context& context, const Tensor& index, int64_t limit, const char* op) {
  Tensor out = empty(context, DType::i64, index.shape, op);
  const int64_t n = index.numel();
  if (n > 0) launch(context, op, checkIndex, blocksFor(n), kThreads, n, index.data<int64_t>(), out.data<int64_t>(), limit, complaintOf(context), op);
  return out;
}

void selectCuda(Context& context, const AxisSplit& split, const Tensor& x, const Tensor& index, const Tensor& out, const char* op) {
  const int64_t n = out.numel();
  if (n == 0) return;
  dispatchSize(itemSize(x.dtype), [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, selectKernel<T>, blocksFor(n), kThreads, n, split, index.numel(), x.data<T>(), index.data<int64_t>(), out.data<T>());
  });
}

void addCuda(Context& context, const AxisSplit& split, const Tensor& index, const Tensor& source, const Tensor& out, const char* op) {
  const int64_t units = split.outer * split.inner;
  if (units == 0 || index.numel() == 0) return;
  dispatchAny(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, addKernel<T>, blocksFor(units), kThreads, split, index.numel(), index.data<int64_t>(), source.data<T>(), out.data<T>());
  });
}

void gatherCuda(Context& context, const IndexLoop& loop, const Tensor& x, const Tensor& index, const Tensor& out, const char* op) {
  const int64_t n = out.numel();
  if (n == 0) return;
  dispatchSize(itemSize(x.dtype), [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, gatherKernel<T>, blocksFor(n), kThreads, n, loop, x.data<T>(), index.data<int64_t>(), out.data<T>());
  });
}

void scatterAddCuda(Context& context, const IndexLoop& loop, int axis, const Tensor& index, const Tensor& source, const Tensor& out, const char* op) {
  if (index.numel() == 0) return;
  const int64_t lines = index.numel() / loop.extent[axis];
  dispatchAny(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, scatterAddKernel<T>, blocksFor(lines), kThreads, lines, loop, axis, index.data<int64_t>(), source.data<T>(), out.data<T>());
  });
}

void oneHotCuda(Context& context, const Tensor& index, int64_t classes, const Tensor& out, const char* op) {
  const int64_t n = out.numel();
  if (n == 0) return;
  dispatchAny(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, oneHotKernel<T>, blocksFor(n), kThreads, n, classes, index.data<int64_t>(), out.data<T>());
  });
}

}  // namespace md::index
