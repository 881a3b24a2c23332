#include <cstring>

#include "op.h"

namespace md::interpolate::MD_ISA {
namespace {

template <class T>
void forward(const Plane& p, const T* in, T* out) {
  for (int64_t i = 0; i < p.outHeight; i++) {
    const T *top = in + p.y.low[i] * p.width, *bottom = in + p.y.high[i] * p.width;
    const T wy = static_cast<T>(p.y.weight[i]);
    for (int64_t j = 0; j < p.outWidth; j++) {
      const int64_t left = p.x.low[j], right = p.x.high[j];
      const T wx = static_cast<T>(p.x.weight[j]);
      const T above = top[left] + wx * (top[right] - top[left]), below = bottom[left] + wx * (bottom[right] - bottom[left]);
      out[i * p.outWidth + j] = above + wy * (below - above);
    }
  }
}

template <class T>
void backward(const Plane& p, const T* grad, T* dx) {
  std::memset(dx, 0, static_cast<size_t>(p.height * p.width) * sizeof(T));
  for (int64_t i = 0; i < p.outHeight; i++) {
    T *top = dx + p.y.low[i] * p.width, *bottom = dx + p.y.high[i] * p.width;
    const T wy = static_cast<T>(p.y.weight[i]);
    for (int64_t j = 0; j < p.outWidth; j++) {
      const int64_t left = p.x.low[j], right = p.x.high[j];
      const T wx = static_cast<T>(p.x.weight[j]), g = grad[i * p.outWidth + j];
      const T above = g * (T(1) - wy), below = g * wy;
      top[left] += above * (T(1) - wx);
      top[right] += above * wx;
      bottom[left] += below * (T(1) - wx);
      bottom[right] += below * wx;
    }
  }
}

}  // namespace

void bilinearPlanes(const Plane& plane, int64_t begin, int64_t end, const void* x, void* y) {
  const int64_t in = plane.height * plane.width, out = plane.outHeight * plane.outWidth;
  dispatchFloat(plane.dtype, "interpolate", [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = begin; i < end; i++) forward(plane, static_cast<const T*>(x) + i * in, static_cast<T*>(y) + i * out);
  });
}

void bilinearGradPlanes(const Plane& plane, int64_t begin, int64_t end, const void* grad, void* dx) {
  const int64_t in = plane.height * plane.width, out = plane.outHeight * plane.outWidth;
  dispatchFloat(plane.dtype, "interpolateGrad", [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = begin; i < end; i++) backward(plane, static_cast<const T*>(grad) + i * out, static_cast<T*>(dx) + i * in);
  });
}

}  // namespace md::interpolate::MD_ISA
