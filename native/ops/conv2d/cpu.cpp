#include <cstring>

#include "../matmul/op.h"
#include "op.h"

namespace md::conv2d::MD_ISA {
namespace {

using matmul::GemmArgs;

/// Positions [first, first + count) of the output, and rows [from, to) of the patch (channel, kernel y, kernel x).
struct Window {
  int64_t first, count, from, to;
};

// A kernel of one pixel reads the image as it lies.
bool isPointwise(const Conv& c) {
  const Options& o = c.options;
  return c.kernelX == 1 && c.kernelY == 1 && o.strideX == 1 && o.strideY == 1 && o.paddingX == 0 && o.paddingY == 0;
}

// Calls run(row of the column matrix, its first position, image offset of that position, image step, positions) for
// each stretch of a line inside the image, and gap(row, position, positions) for each stretch of padding.
template <class Run, class Gap>
void overStretches(const Conv& c, const Window& w, Run&& run, Gap&& gap) {
  const Options& o = c.options;
  for (int64_t row = w.from; row < w.to; row++) {
    const int64_t kx = row % c.kernelX, ky = row / c.kernelX % c.kernelY, channel = row / (c.kernelX * c.kernelY);
    const int64_t offsetX = kx * o.dilationX - o.paddingX, offsetY = ky * o.dilationY - o.paddingY;
    for (int64_t at = w.first; at < w.first + w.count;) {
      const int64_t y = at / c.outWidth, x = at % c.outWidth;
      const int64_t left = w.first + w.count - at, line = c.outWidth - x < left ? c.outWidth - x : left, stop = x + line;
      const int64_t imageY = y * o.strideY + offsetY;
      // x · stride + offset lies in [0, width) for x in [low, high).
      int64_t low = offsetX >= 0 ? 0 : (-offsetX + o.strideX - 1) / o.strideX;
      int64_t high = offsetX >= c.width ? 0 : (c.width - offsetX + o.strideX - 1) / o.strideX;
      if (imageY < 0 || imageY >= c.height) high = 0;
      low = low < x ? x : (low > stop ? stop : low);
      high = high > stop ? stop : (high < low ? low : high);
      if (low > x) gap(row - w.from, at - w.first, low - x);
      if (high > low) run(row - w.from, at - w.first + low - x, (channel * c.height + imageY) * c.width + low * o.strideX + offsetX, o.strideX, high - low);
      if (stop > high) gap(row - w.from, at - w.first + high - x, stop - high);
      at += line;
    }
  }
}

// columns[row, position] = the pixel under that row of the patch, 0 in the padding.
template <class T>
void imageToColumns(const Conv& c, const Window& w, const T* image, T* columns) {
  overStretches(
      c, w,
      [&](int64_t row, int64_t at, int64_t from, int64_t step, int64_t n) {
        T* out = columns + row * w.count + at;
        if (step == 1) {
          std::memcpy(out, image + from, static_cast<size_t>(n) * sizeof(T));
        } else {
          for (int64_t i = 0; i < n; i++) out[i] = image[from + i * step];
        }
      },
      [&](int64_t row, int64_t at, int64_t n) { std::memset(columns + row * w.count + at, 0, static_cast<size_t>(n) * sizeof(T)); });
}

// The adjoint: adds every column entry to its pixel.
template <class T>
void columnsToImage(const Conv& c, const Window& w, const T* columns, T* image) {
  overStretches(
      c, w,
      [&](int64_t row, int64_t at, int64_t to, int64_t step, int64_t n) {
        const T* in = columns + row * w.count + at;
        for (int64_t i = 0; i < n; i++) image[to + i * step] += in[i];
      },
      [](int64_t, int64_t, int64_t) {});
}

// The three products, without their pointers. Columns are [patch rows, count].
GemmArgs outputProduct(const Conv& c, int64_t count) {
  GemmArgs g;
  g.dtype = c.dtype;
  g.m = c.out, g.n = count, g.k = c.patch();
  g.aRow = c.patch();
  g.bRow = isPointwise(c) ? c.height * c.width : count;
  g.cRow = c.positions();
  g.biasRow = 1, g.biasCol = 0;
  return g;
}
GemmArgs inputGradProduct(const Conv& c, const Window& w) {
  GemmArgs g;
  g.dtype = c.dtype;
  g.m = w.to - w.from, g.n = w.count, g.k = c.out;
  g.aRow = 1, g.aCol = c.patch();
  g.bRow = c.positions();
  g.cRow = isPointwise(c) ? c.height * c.width : w.count;
  return g;
}
GemmArgs weightGradProduct(const Conv& c, const Window& w) {
  GemmArgs g;
  g.dtype = c.dtype;
  g.m = c.out, g.n = w.to - w.from, g.k = w.count;
  g.aRow = c.positions();
  g.bRow = 1, g.bCol = isPointwise(c) ? c.height * c.width : w.count;
  g.cRow = c.patch();
  g.accumulate = true;
  return g;
}

Window windowOf(const Conv& c, int64_t tile, int64_t from, int64_t to) {
  const int64_t first = tile * c.tile, left = c.positions() - first;
  return {first, left < c.tile ? left : c.tile, from, to};
}

template <class T>
void output(const Conv& c, int64_t begin, int64_t end, const T* x, const T* weight, const T* bias, T* y, T* scratch) {
  const int64_t tiles = c.tiles(), groups = c.options.groups;
  for (int64_t unit = begin; unit < end; unit++) {
    const int64_t item = unit / tiles, group = item % groups;
    const Window w = windowOf(c, unit % tiles, 0, c.patch());
    const T* image = x + item * c.in * c.height * c.width;
    GemmArgs g = outputProduct(c, w.count);
    g.a = weight + group * c.out * c.patch();
    g.c = y + item * c.out * c.positions() + w.first;
    g.bias = bias ? bias + group * c.out : nullptr;
    if (isPointwise(c)) {
      g.b = image + w.first;
      matmul::MD_ISA::gemmSerial(g, scratch, false);
    } else {
      imageToColumns(c, w, image, scratch);
      g.b = scratch;
      matmul::MD_ISA::gemmSerial(g, scratch + c.patch() * c.tile, false);
    }
  }
}

template <class T>
void inputGrad(const Conv& c, int64_t begin, int64_t end, const T* grad, const T* weight, T* dx, T* scratch) {
  const int64_t groups = c.options.groups, kernel = c.kernelY * c.kernelX, pixels = c.height * c.width;
  for (int64_t unit = begin; unit < end; unit++) {
    const int64_t item = unit / c.blocks, group = item % groups, block = unit % c.blocks;
    const int64_t firstChannel = c.in * block / c.blocks, lastChannel = c.in * (block + 1) / c.blocks;
    T* image = dx + item * c.in * pixels;
    std::memset(image + firstChannel * pixels, 0, static_cast<size_t>((lastChannel - firstChannel) * pixels) * sizeof(T));
    for (int64_t tile = 0; tile < c.tiles(); tile++) {
      const Window w = windowOf(c, tile, firstChannel * kernel, lastChannel * kernel);
      GemmArgs g = inputGradProduct(c, w);
      g.a = weight + group * c.out * c.patch() + w.from;
      g.b = grad + item * c.out * c.positions() + w.first;
      if (isPointwise(c)) {
        g.c = image + firstChannel * pixels + w.first;
        matmul::MD_ISA::gemmSerial(g, scratch, false);
      } else {
        g.c = scratch;
        matmul::MD_ISA::gemmSerial(g, scratch + c.patch() * c.tile, false);
        columnsToImage(c, w, scratch, image);
      }
    }
  }
}

template <class T>
void weightGrad(const Conv& c, int64_t begin, int64_t end, const T* grad, const T* x, T* dWeight, T* scratch) {
  const int64_t groups = c.options.groups, patch = c.patch();
  for (int64_t unit = begin; unit < end; unit++) {
    const int64_t group = unit / c.blocks, block = unit % c.blocks;
    const int64_t from = patch * block / c.blocks, to = patch * (block + 1) / c.blocks;
    T* out = dWeight + group * c.out * patch + from;
    for (int64_t row = 0; row < c.out; row++) std::memset(out + row * patch, 0, static_cast<size_t>(to - from) * sizeof(T));
    for (int64_t item = group; item < c.batch * groups; item += groups) {
      const T* image = x + item * c.in * c.height * c.width;
      for (int64_t tile = 0; tile < c.tiles(); tile++) {
        const Window w = windowOf(c, tile, from, to);
        GemmArgs g = weightGradProduct(c, w);
        g.a = grad + item * c.out * c.positions() + w.first;
        g.c = out;
        if (isPointwise(c)) {
          g.b = image + from * c.height * c.width + w.first;
          matmul::MD_ISA::gemmSerial(g, scratch, false);
        } else {
          imageToColumns(c, w, image, scratch);
          g.b = scratch;
          matmul::MD_ISA::gemmSerial(g, scratch + c.patch() * c.tile, false);
        }
      }
    }
  }
}

GemmArgs productOf(const Conv& c, Product product, const Window& w) {
  if (product == Product::output) return outputProduct(c, w.count);
  return product == Product::inputGrad ? inputGradProduct(c, w) : weightGradProduct(c, w);
}

}  // namespace

int64_t scratchElements(const Conv& c, Product product) {
  // Blocks and tiles come in at most two sizes each.
  int64_t most = 0;
  const int64_t rows = product == Product::inputGrad ? c.in : c.patch();
  const int64_t unit = product == Product::inputGrad ? c.kernelY * c.kernelX : 1;
  const int64_t small = rows / c.blocks * unit, large = (rows + c.blocks - 1) / c.blocks * unit;
  for (const int64_t count : {c.tile, c.positions() % c.tile}) {
    for (const int64_t size : {small, large}) {
      const int64_t wanted = matmul::MD_ISA::gemmScratch(productOf(c, product, {0, count, 0, size}));
      most = wanted > most ? wanted : most;
    }
  }
  return most + (isPointwise(c) ? 0 : c.patch() * c.tile);
}

void outputUnits(const Conv& conv, int64_t begin, int64_t end, const void* x, const void* weight, const void* bias, void* y, void* scratch) {
  dispatchFloat(conv.dtype, "conv2d", [&](auto tag) {
    using T = typename decltype(tag)::type;
    output(conv, begin, end, static_cast<const T*>(x), static_cast<const T*>(weight), static_cast<const T*>(bias), static_cast<T*>(y),
           static_cast<T*>(scratch));
  });
}

void inputGradUnits(const Conv& conv, int64_t begin, int64_t end, const void* grad, const void* weight, void* dx, void* scratch) {
  dispatchFloat(conv.dtype, "conv2dInputGrad", [&](auto tag) {
    using T = typename decltype(tag)::type;
    inputGrad(conv, begin, end, static_cast<const T*>(grad), static_cast<const T*>(weight), static_cast<T*>(dx), static_cast<T*>(scratch));
  });
}

void weightGradUnits(const Conv& conv, int64_t begin, int64_t end, const void* grad, const void* x, void* dWeight, void* scratch) {
  dispatchFloat(conv.dtype, "conv2dWeightGrad", [&](auto tag) {
    using T = typename decltype(tag)::type;
    weightGrad(conv, begin, end, static_cast<const T*>(grad), static_cast<const T*>(x), static_cast<T*>(dWeight), static_cast<T*>(scratch));
  });
}

}  // namespace md::conv2d::MD_ISA
