#include "copy.h"

#include "launch.h"

namespace md::cuda {
namespace {

struct Layout {
  int rank;
  int64_t extent[kMaxRank], stride[kMaxRank];
};

Layout layoutOf(const Tensor& x) {
  Layout layout{};
  for (int axis = 0; axis < x.rank(); axis++) {
    if (x.shape[axis] == 1) continue;
    layout.extent[layout.rank] = x.shape[axis];
    layout.stride[layout.rank++] = x.stride[axis];
  }
  return layout;
}

__device__ int64_t offsetOf(const Layout& layout, int64_t i) {
  int64_t offset = 0;
  for (int axis = layout.rank - 1; axis >= 0; axis--) {
    offset += i % layout.extent[axis] * layout.stride[axis];
    i /= layout.extent[axis];
  }
  return offset;
}

template <class T, bool Gather>
__global__ void stridedCopy(int64_t n, Layout layout, const T* __restrict__ from, T* __restrict__ to) {
  gridStride(n, [&](int64_t i) {
    if (Gather) {
      to[i] = from[offsetOf(layout, i)];
    } else {
      to[offsetOf(layout, i)] = from[i];
    }
  });
}

template <bool Gather>
void copyStrided(Context& context, const Tensor& strided, const void* from, void* to, const char* op) {
  const int64_t n = strided.numel();
  if (n == 0) return;
  dispatchSize(itemSize(strided.dtype), [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, stridedCopy<T, Gather>, blocksFor(n), kThreads, n, layoutOf(strided), static_cast<const T*>(from), static_cast<T*>(to));
  });
}

}  // namespace

void requireLive(const Context& context, const char* op) { useDevice(context, op); }

void gatherStrided(Context& context, const Tensor& x, void* out, const char* op) { copyStrided<true>(context, x, x.raw(), out, op); }
void scatterStrided(Context& context, const void* from, const Tensor& to, const char* op) { copyStrided<false>(context, to, from, to.raw(), op); }

}  // namespace md::cuda
