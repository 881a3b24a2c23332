#include <cmath>

#include "../../isa/run.h"
#include "op.h"

namespace md::group_norm::MD_ISA {
namespace {

using md::MD_ISA::gradSumsOf;
using md::MD_ISA::squaredDistanceOf;
using md::MD_ISA::sumOf;

template <class T>
void forward(const Layout& layout, T eps, int64_t begin, int64_t end, const T* input, const T* weight, const T* bias, T* output, T* means, T* rstds) {
  const int64_t width = layout.channels / layout.groups, n = width * layout.spatial;
  for (int64_t unit = begin; unit < end; unit++) {
    const T* x = input + unit * n;
    T* y = output + unit * n;
    const T mean = n ? sumOf(x, n) / static_cast<T>(n) : T(0);
    const T rstd = T(1) / std::sqrt((n ? squaredDistanceOf(x, mean, n) / static_cast<T>(n) : T(0)) + eps);
    means[unit] = mean;
    rstds[unit] = rstd;
    const int64_t first = unit % layout.groups * width;
    for (int64_t c = 0; c < width; c++) {
      const T scale = weight ? rstd * weight[first + c] : rstd, shift = bias ? bias[first + c] : T(0);
      const T* __restrict in = x + c * layout.spatial;
      T* __restrict out = y + c * layout.spatial;
      for (int64_t i = 0; i < layout.spatial; i++) out[i] = (in[i] - mean) * scale + shift;
    }
  }
}

template <class T>
void backward(const Layout& layout, int64_t begin, int64_t end, const T* input, const T* weight, const T* means, const T* rstds,
              const T* gradient, T* dInput, T* partial) {
  const int64_t width = layout.channels / layout.groups, n = width * layout.spatial;
  for (int64_t unit = begin; unit < end; unit++) {
    const T *x = input + unit * n, *g = gradient + unit * n;
    const T mean = means[unit], rstd = rstds[unit];
    const int64_t first = unit % layout.groups * width;
    T* sumX = partial + unit / layout.groups * 2 * layout.channels + first;
    T* sumG = sumX + layout.channels;
    T a = 0, b = 0;
    for (int64_t c = 0; c < width; c++) {
      gradSumsOf(x + c * layout.spatial, g + c * layout.spatial, mean, rstd, layout.spatial, sumG[c], sumX[c]);
      const T w = weight ? weight[first + c] : T(1);
      a += w * sumG[c];
      b += w * sumX[c];
    }
    a /= static_cast<T>(n);
    b /= static_cast<T>(n);
    for (int64_t c = 0; c < width; c++) {
      const T w = weight ? weight[first + c] : T(1);
      const T* __restrict in = x + c * layout.spatial;
      const T* __restrict grad = g + c * layout.spatial;
      T* __restrict out = dInput + unit * n + c * layout.spatial;
      for (int64_t i = 0; i < layout.spatial; i++) out[i] = rstd * (w * grad[i] - a - (in[i] - mean) * rstd * b);
    }
  }
}

}  // namespace

void groupNormUnits(DType dtype, const Layout& layout, double eps, int64_t begin, int64_t end, const void* x, const void* weight,
                    const void* bias, void* y, void* mean, void* rstd) {
  dispatchFloat(dtype, "groupNorm", [&](auto tag) {
    using T = typename decltype(tag)::type;
    forward(layout, static_cast<T>(eps), begin, end, static_cast<const T*>(x), static_cast<const T*>(weight), static_cast<const T*>(bias),
            static_cast<T*>(y), static_cast<T*>(mean), static_cast<T*>(rstd));
  });
}

void groupNormGradUnits(DType dtype, const Layout& layout, int64_t begin, int64_t end, const void* x, const void* weight, const void* mean,
                        const void* rstd, const void* grad, void* dx, void* partial) {
  dispatchFloat(dtype, "groupNormGrad", [&](auto tag) {
    using T = typename decltype(tag)::type;
    backward(layout, begin, end, static_cast<const T*>(x), static_cast<const T*>(weight), static_cast<const T*>(mean),
             static_cast<const T*>(rstd), static_cast<const T*>(grad), static_cast<T*>(dx), static_cast<T*>(partial));
  });
}

}  // namespace md::group_norm::MD_ISA
