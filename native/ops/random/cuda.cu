// Compiled without contraction into fused multiply-adds, as cpu.cpp is.
#include "cuda.h"

#include "../../core/cuda/launch.h"
#include "../../core/philox.h"
#include "shared.h"

namespace md::random {
namespace {

using namespace md::cuda;

struct Uniform {
  double low, high;
  __device__ void operator()(const Philox4& bits, float (&values)[4]) const {
    const float a = static_cast<float>(low), b = static_cast<float>(high), span = b - a;
    for (int w = 0; w < 4; w++) {
      const float value = a + uniformFloat(bits.v[w]) * span;
      values[w] = value < b ? value : a;  // rounding may reach b, which the interval excludes
    }
  }
  __device__ void operator()(const Philox4& bits, double (&values)[2]) const {
    const double span = high - low;
    for (int half = 0; half < 2; half++) {
      const double value = low + uniformDouble(bits.v[2 * half], bits.v[2 * half + 1]) * span;
      values[half] = value < high ? value : low;
    }
  }
};

__device__ uint64_t wide(const Philox4& bits, int half) { return static_cast<uint64_t>(bits.v[2 * half]) << 32 | bits.v[2 * half + 1]; }

struct Normal {
  double mean, std;
  __device__ void operator()(const Philox4& bits, float (&values)[4]) const {
    const float m = static_cast<float>(mean), s = static_cast<float>(std);
    for (int half = 0; half < 2; half++) {
      float first, second;
      normalPair(bits.v[2 * half], bits.v[2 * half + 1], first, second);
      values[2 * half] = m + s * first;
      values[2 * half + 1] = m + s * second;
    }
  }
  __device__ void operator()(const Philox4& bits, double (&values)[2]) const {
    double first, second;
    normalPair(wide(bits, 0), wide(bits, 1), first, second);
    values[0] = mean + std * first;
    values[1] = mean + std * second;
  }
};

struct Integers {
  int64_t low;
  uint64_t count;
  __device__ void operator()(const Philox4& bits, int64_t (&values)[2]) const {
    for (int half = 0; half < 2; half++) {
      // floor(bits * count / 2^64), in 32-bit halves
      const uint64_t x = wide(bits, half), xl = x & 0xFFFFFFFFu, xh = x >> 32, cl = count & 0xFFFFFFFFu, ch = count >> 32;
      const uint64_t middle = xh * cl + ((xl * cl) >> 32), cross = xl * ch + (middle & 0xFFFFFFFFu);
      values[half] = static_cast<int64_t>(static_cast<uint64_t>(low) + xh * ch + (middle >> 32) + (cross >> 32));
    }
  }
};

struct Bernoulli {
  uint64_t threshold;
  __device__ void operator()(const Philox4& bits, uint8_t (&values)[4]) const {
    for (int w = 0; w < 4; w++) values[w] = bits.v[w] < threshold;
  }
};

/// Where the stream stands as the kernel runs.
__device__ inline uint64_t counterOf(Stream stream, const uint64_t* moved) { return stream.counter + (moved ? *moved : 0); }

/// A thread makes the `perBlock` elements of one Philox block.
template <int perBlock, class T, class F>
__global__ void generateKernel(int64_t n, Stream stream, const uint64_t* moved, F f, T* __restrict__ out) {
  const uint64_t counter = counterOf(stream, moved);
  gridStride((n + perBlock - 1) / perBlock, [&](int64_t block) {
    T values[perBlock];
    f(philox(stream.key, counter + static_cast<uint64_t>(block)), values);
    for (int i = 0; i < perBlock && block * perBlock + i < n; i++) out[block * perBlock + i] = values[i];
  });
}

template <class T>
__global__ void dropoutKernel(int64_t n, Stream stream, const uint64_t* moved, uint64_t threshold, T scale, const T* __restrict__ x, T* __restrict__ out) {
  const uint64_t counter = counterOf(stream, moved);
  gridStride((n + 3) / 4, [&](int64_t block) {
    const Philox4 bits = philox(stream.key, counter + static_cast<uint64_t>(block));
    for (int w = 0; w < 4 && block * 4 + w < n; w++) out[block * 4 + w] = bits.v[w] < threshold ? x[block * 4 + w] * scale : T(0);
  });
}

template <int perBlock, class T, class F>
void generate(Context& context, Stream stream, F f, const Tensor& out, const char* op) {
  const int64_t n = out.numel();
  if (n == 0) return;
  launch(context, op, generateKernel<perBlock, T, F>, blocksFor((n + perBlock - 1) / perBlock), kThreads, n, stream,
         movedOf(context, stream.key, op), f, out.data<T>());
}

}  // namespace

void uniformCuda(Context& context, Stream stream, double low, double high, const Tensor& out, const char* op) {
  if (out.dtype == DType::f32) return generate<4, float>(context, stream, Uniform{low, high}, out, op);
  generate<2, double>(context, stream, Uniform{low, high}, out, op);
}

void normalCuda(Context& context, Stream stream, double mean, double std, const Tensor& out, const char* op) {
  if (out.dtype == DType::f32) return generate<4, float>(context, stream, Normal{mean, std}, out, op);
  generate<2, double>(context, stream, Normal{mean, std}, out, op);
}

void randintCuda(Context& context, Stream stream, int64_t low, uint64_t count, const Tensor& out, const char* op) {
  generate<2, int64_t>(context, stream, Integers{low, count}, out, op);
}

void bernoulliCuda(Context& context, Stream stream, uint64_t threshold, const Tensor& out, const char* op) {
  generate<4, uint8_t>(context, stream, Bernoulli{threshold}, out, op);
}

void dropoutCuda(Context& context, Stream stream, uint64_t threshold, double scale, const Tensor& x, const Tensor& out, const char* op) {
  const int64_t n = x.numel();
  if (n == 0) return;
  dispatchFloat(x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, dropoutKernel<T>, blocksFor((n + 3) / 4), kThreads, n, stream, movedOf(context, stream.key, op), threshold, static_cast<T>(scale), x.data<T>(), out.data<T>());
  });
}

}  // namespace md::random
