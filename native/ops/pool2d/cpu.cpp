#include <cstring>

#include "op.h"

namespace md::pool2d::MD_ISA {
namespace {

/// The pixels of an output position's window that lie inside the image.
struct Window {
  int64_t top, bottom, left, right;
};

// f(output position, window) for each position of a plane.
template <class F>
void overWindows(const Plane& p, F&& f) {
  const Options& o = p.options;
  for (int64_t oy = 0; oy < p.outHeight; oy++) {
    const int64_t y = oy * o.strideY - o.paddingY;
    for (int64_t ox = 0; ox < p.outWidth; ox++) {
      const int64_t x = ox * o.strideX - o.paddingX;
      const Window window{y < 0 ? 0 : y, y + o.kernelY < p.height ? y + o.kernelY : p.height, x < 0 ? 0 : x,
                          x + o.kernelX < p.width ? x + o.kernelX : p.width};
      f(oy * p.outWidth + ox, window);
    }
  }
}

template <class T>
void maxPlane(const Plane& p, const T* x, T* y, int32_t* indices) {
  overWindows(p, [&](int64_t at, const Window& w) {
    int64_t chosen = w.top * p.width + w.left;
    T best = x[chosen];
    for (int64_t i = w.top; i < w.bottom; i++)
      for (int64_t j = w.left; j < w.right; j++) {
        const T value = x[i * p.width + j];
        if (value > best || (value != value && best == best)) {
          best = value;
          chosen = i * p.width + j;
        }
      }
    y[at] = best;
    indices[at] = static_cast<int32_t>(chosen);
  });
}

template <class T>
void avgPlane(const Plane& p, const T* x, T* y) {
  const T share = T(1) / static_cast<T>(p.options.kernelY * p.options.kernelX);
  overWindows(p, [&](int64_t at, const Window& w) {
    T total = 0;
    for (int64_t i = w.top; i < w.bottom; i++)
      for (int64_t j = w.left; j < w.right; j++) total += x[i * p.width + j];
    y[at] = total * share;
  });
}

template <class T>
void avgGradPlane(const Plane& p, const T* grad, T* dx) {
  const T share = T(1) / static_cast<T>(p.options.kernelY * p.options.kernelX);
  std::memset(dx, 0, static_cast<size_t>(p.height * p.width) * sizeof(T));
  overWindows(p, [&](int64_t at, const Window& w) {
    const T part = grad[at] * share;
    for (int64_t i = w.top; i < w.bottom; i++)
      for (int64_t j = w.left; j < w.right; j++) dx[i * p.width + j] += part;
  });
}

}  // namespace

void maxPlanes(const Plane& plane, int64_t begin, int64_t end, const void* x, void* y, int32_t* indices) {
  const int64_t in = plane.height * plane.width, out = plane.outHeight * plane.outWidth;
  dispatchFloat(plane.dtype, "maxPool2d", [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = begin; i < end; i++) maxPlane(plane, static_cast<const T*>(x) + i * in, static_cast<T*>(y) + i * out, indices + i * out);
  });
}

bool maxGradPlanes(const Plane& plane, int64_t begin, int64_t end, const void* gradient, const int32_t* indices, void* dx) {
  const int64_t in = plane.height * plane.width, out = plane.outHeight * plane.outWidth;
  return dispatchFloat(plane.dtype, "maxPool2dGrad", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* grad = static_cast<const T*>(gradient);
    for (int64_t i = begin; i < end; i++) {
      T* to = static_cast<T*>(dx) + i * in;
      std::memset(to, 0, static_cast<size_t>(in) * sizeof(T));
      for (int64_t k = i * out; k < (i + 1) * out; k++) {
        if (indices[k] < 0 || indices[k] >= in) return false;
        to[indices[k]] += grad[k];
      }
    }
    return true;
  });
}

void avgPlanes(const Plane& plane, int64_t begin, int64_t end, const void* x, void* y) {
  const int64_t in = plane.height * plane.width, out = plane.outHeight * plane.outWidth;
  dispatchFloat(plane.dtype, "avgPool2d", [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = begin; i < end; i++) avgPlane(plane, static_cast<const T*>(x) + i * in, static_cast<T*>(y) + i * out);
  });
}

void avgGradPlanes(const Plane& plane, int64_t begin, int64_t end, const void* grad, void* dx) {
  const int64_t in = plane.height * plane.width, out = plane.outHeight * plane.outWidth;
  dispatchFloat(plane.dtype, "avgPool2dGrad", [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = begin; i < end; i++) avgGradPlane(plane, static_cast<const T*>(grad) + i * out, static_cast<T*>(dx) + i * in);
  });
}

}  // namespace md::pool2d::MD_ISA
