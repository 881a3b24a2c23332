#include <cmath>

#include "../../isa/run.h"
#include "../../isa/stream.h"
#include "op.h"

namespace md::batch_norm::MD_ISA {
namespace {

using md::MD_ISA::forVectors;
using md::MD_ISA::gradSumsOf;
using md::MD_ISA::kAhead;
using md::MD_ISA::loadLanes;
using md::MD_ISA::putLanes;
using md::MD_ISA::squaredDistanceOf;
using md::MD_ISA::streamRows;
using md::MD_ISA::sumOf;
using md::MD_ISA::Vec;

template <class T>
constexpr int64_t kLine = 64 / sizeof(T);  // elements of a cache line

/// First item and number of items of a chunk.
struct Chunk {
  int64_t first, rows;
  Chunk(const Layout& layout, int64_t index) : first(index * layout.chunkRows()) {
    rows = layout.batch - first < layout.chunkRows() ? layout.batch - first : layout.chunkRows();
  }
};

// Mean and sum of squared distances of each column; the chunk stays in cache for the second pass, which asks for the next.
template <class T>
void columnStatistics(const T* __restrict x, int64_t rows, int64_t columns, T* __restrict mean, T* __restrict squares) {
  for (int64_t c = 0; c < columns; c++) mean[c] = squares[c] = 0;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++) mean[c] += x[r * columns + c];
  for (int64_t c = 0; c < columns; c++) mean[c] /= static_cast<T>(rows);
  for (int64_t r = 0; r < rows; r++) {
    const T* row = x + r * columns;
    for (int64_t c = 0; c < columns; c += kLine<T>) __builtin_prefetch(row + rows * columns + c);
    for (int64_t c = 0; c < columns; c++) {
      const T d = row[c] - mean[c];
      squares[c] += d * d;
    }
  }
}

template <class T>
void columnGradSums(const T* __restrict x, const T* __restrict g, int64_t rows, int64_t columns, const T* __restrict mean,
                    const T* __restrict rstd, T* __restrict sumX, T* __restrict sumG) {
  for (int64_t c = 0; c < columns; c++) sumX[c] = sumG[c] = 0;
  for (int64_t r = 0; r < rows; r++, x += columns, g += columns) {
    for (int64_t c = 0; c + kLine<T> <= columns; c += kLine<T>) {
      __builtin_prefetch(x + c + kAhead);
      __builtin_prefetch(g + c + kAhead);
    }
    for (int64_t c = 0; c < columns; c++) {
      sumG[c] += g[c];
      sumX[c] += g[c] * ((x[c] - mean[c]) * rstd[c]);
    }
  }
}

// f(offset, where to write, channel index of the first element, elements, whether they are a row of channels, and whether
// it goes past the caches): rows of channels where spatial = 1, else runs of one channel.
template <class T, class F>
void overRuns(const Layout& layout, int64_t begin, int64_t end, T* out, F&& f) {
  const int64_t channels = layout.channels, spatial = layout.spatial;
  if (spatial == 1) {
    const int64_t first = Chunk(layout, begin).first, last = first + (end - 1 - begin) * layout.chunkRows() + Chunk(layout, end - 1).rows;
    streamRows(out + first * channels, first, last, channels, [&](int64_t from, int64_t to, T* row, auto past) {
      for (int64_t r = from; r < to; r++, row += channels) f(r * channels, row, int64_t{0}, channels, std::true_type{}, past);
    });
    return;
  }
  for (int64_t run = begin * channels; run < end * channels; run++) f(run * spatial, out + run * spatial, run % channels, spatial, std::false_type{}, std::false_type{});
}

}  // namespace

void statisticsChunks(DType dtype, const Layout& layout, int64_t begin, int64_t end, const void* input, void* partial) {
  dispatchFloat(dtype, "batchNorm", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const int64_t channels = layout.channels, spatial = layout.spatial;
    for (int64_t chunk = begin; chunk < end; chunk++) {
      const Chunk part(layout, chunk);
      const T* x = static_cast<const T*>(input) + part.first * channels * spatial;
      T* mean = static_cast<T*>(partial) + chunk * 2 * channels;
      T* squares = mean + channels;
      if (spatial == 1) {
        columnStatistics(x, part.rows, channels, mean, squares);
      } else {
        for (int64_t c = 0; c < channels; c++) {
          mean[c] = spatial ? sumOf(x + c * spatial, spatial) / static_cast<T>(spatial) : T(0);
          squares[c] = squaredDistanceOf(x + c * spatial, mean[c], spatial);
        }
      }
    }
  });
}

void combineStatistics(DType dtype, const Layout& layout, const void* partial, void* means, void* variances) {
  dispatchFloat(dtype, "batchNorm", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const int64_t channels = layout.channels;
    for (int64_t c = 0; c < channels; c++) {
      double count = 0, mean = 0, squares = 0;
      for (int64_t chunk = 0; chunk < layout.chunks(); chunk++) {
        const T* in = static_cast<const T*>(partial) + chunk * 2 * channels + c;
        const double n = static_cast<double>(Chunk(layout, chunk).rows * layout.spatial);
        const double delta = static_cast<double>(in[0]) - mean, total = count + n;
        mean += delta * (n / total);
        squares += static_cast<double>(in[channels]) + delta * delta * (count * n / total);
        count = total;
      }
      static_cast<T*>(means)[c] = static_cast<T>(mean);
      static_cast<T*>(variances)[c] = static_cast<T>(squares / count);
    }
  });
}

void affine(DType dtype, int64_t channels, double eps, const void* variance, const void* weight, const void* bias, void* rstd, void* scale, void* shift) {
  dispatchFloat(dtype, "batchNorm", [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t c = 0; c < channels; c++) {
      const T r = T(1) / std::sqrt(static_cast<const T*>(variance)[c] + static_cast<T>(eps));
      static_cast<T*>(rstd)[c] = r;
      static_cast<T*>(scale)[c] = weight ? r * static_cast<const T*>(weight)[c] : r;
      static_cast<T*>(shift)[c] = bias ? static_cast<const T*>(bias)[c] : T(0);
    }
  });
}

void normalizeChunks(DType dtype, const Layout& layout, int64_t begin, int64_t end, const void* input, const void* means, const void* scales,
                     const void* shifts, void* output) {
  dispatchFloat(dtype, "batchNorm", [&](auto tag) {
    using T = typename decltype(tag)::type;
    overRuns(layout, begin, end, static_cast<T*>(output), [&](int64_t at, T* __restrict y, int64_t channel, int64_t n, auto perElement, auto past) {
      const T* __restrict x = static_cast<const T*>(input) + at;
      const T* __restrict mean = static_cast<const T*>(means) + channel;
      const T* __restrict scale = static_cast<const T*>(scales) + channel;
      const T* __restrict shift = static_cast<const T*>(shifts) + channel;
      if constexpr (perElement) {
        forVectors<T>(n, [&](int64_t i, int lanes) __attribute__((always_inline)) {
          __builtin_prefetch(x + i + kAhead);
          const auto lanesOf = [=](const T* p) { return loadLanes(p + i, lanes); };
          putLanes<past>(fma(lanesOf(x) - lanesOf(mean), lanesOf(scale), lanesOf(shift)), y + i, lanes);
        });
      } else {
        const T m = *mean, s = *scale, b = *shift;
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - m) * s + b;
      }
    });
  });
}

void gradSumsChunks(DType dtype, const Layout& layout, int64_t begin, int64_t end, const void* input, const void* means, const void* rstds,
                    const void* grad, void* partial) {
  dispatchFloat(dtype, "batchNormGrad", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const int64_t channels = layout.channels, spatial = layout.spatial;
    const T *mean = static_cast<const T*>(means), *rstd = static_cast<const T*>(rstds);
    for (int64_t chunk = begin; chunk < end; chunk++) {
      const Chunk part(layout, chunk);
      const T* x = static_cast<const T*>(input) + part.first * channels * spatial;
      const T* g = static_cast<const T*>(grad) + part.first * channels * spatial;
      T* sumX = static_cast<T*>(partial) + chunk * 2 * channels;
      T* sumG = sumX + channels;
      if (spatial == 1) {
        columnGradSums(x, g, part.rows, channels, mean, rstd, sumX, sumG);
      } else {
        for (int64_t c = 0; c < channels; c++) gradSumsOf(x + c * spatial, g + c * spatial, mean[c], rstd[c], spatial, sumG[c], sumX[c]);
      }
    }
  });
}

void gradChunks(DType dtype, const Layout& layout, int64_t begin, int64_t end, const void* input, const void* means, const void* rstds,
                const void* scales, const void* gradient, const void* sums, void* output) {
  dispatchFloat(dtype, "batchNormGrad", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T inverse = T(1) / static_cast<T>(layout.batch * layout.spatial);
    overRuns(layout, begin, end, static_cast<T*>(output), [&](int64_t at, T* __restrict dx, int64_t channel, int64_t n, auto perElement, auto past) {
      const T* __restrict x = static_cast<const T*>(input) + at;
      const T* __restrict g = static_cast<const T*>(gradient) + at;
      const T* __restrict mean = static_cast<const T*>(means) + channel;
      const T* __restrict rstd = static_cast<const T*>(rstds) + channel;
      const T* __restrict scale = static_cast<const T*>(scales) + channel;
      const T* __restrict sumX = sums ? static_cast<const T*>(sums) + channel : nullptr;
      const T* __restrict sumG = sums ? sumX + layout.channels : nullptr;
      if constexpr (perElement) {
        const Vec<T> share = Vec<T>::set(inverse);
        forVectors<T>(n, [&](int64_t i, int lanes) __attribute__((always_inline)) {
          if (sums) __builtin_prefetch(x + i + kAhead);
          __builtin_prefetch(g + i + kAhead);
          const auto lanesOf = [=](const T* p) { return loadLanes(p + i, lanes); };
          const Vec<T> centered = sums ? lanesOf(g) - share * fma((lanesOf(x) - lanesOf(mean)) * lanesOf(rstd), lanesOf(sumX), lanesOf(sumG)) : lanesOf(g);
          putLanes<past>(lanesOf(scale) * centered, dx + i, lanes);
        });
      } else {
        const T m = *mean, r = *rstd, s = *scale, a = sums ? *sumG * inverse : T(0), b = sums ? *sumX * inverse : T(0);
        for (int64_t i = 0; i < n; i++) dx[i] = s * (g[i] - a - (x[i] - m) * r * b);
      }
    });
  });
}

}  // namespace md::batch_norm::MD_ISA
