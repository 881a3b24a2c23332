#include "../../core/philox.h"
#include "op.h"
#include "shared.h"

namespace md::random::MD_ISA {
namespace {

constexpr int kBlocks = 64;  // Philox blocks at a time, word by word, so that the loops vectorise

struct Bits {
  uint32_t word[4][kBlocks];

  void draw(Stream stream, int64_t firstBlock) {
    for (int i = 0; i < kBlocks; i++) {
      const Philox4 block = philox(stream.key, stream.counter + static_cast<uint64_t>(firstBlock + i));
      for (int w = 0; w < 4; w++) word[w][i] = block.v[w];
    }
  }
  uint64_t wide(int half, int i) const { return static_cast<uint64_t>(word[2 * half][i]) << 32 | word[2 * half + 1][i]; }
};

// Makes elements kBlocks * PerBlock at a time with f(bits, values) and copies those of [begin, end) to `out`.
template <int PerBlock, class T, class F>
void generate(Stream stream, int64_t begin, int64_t end, T* out, F f) {
  constexpr int64_t kBatch = kBlocks * PerBlock;
  Bits bits;
  T values[kBatch];
  for (int64_t from = begin; from < end; from += kBatch) {
    bits.draw(stream, from / PerBlock);
    f(bits, values);
    const int64_t count = end - from < kBatch ? end - from : kBatch;
    for (int64_t i = 0; i < count; i++) out[from + i] = values[i];
  }
}

template <class T>
T within(T value, T low, T high) {
  return value < high ? value : low;  // rounding may reach high, which the interval excludes
}

}  // namespace

void uniformRange(DType dtype, Stream stream, int64_t begin, int64_t end, double low, double high, void* out) {
  if (dtype == DType::f32) {
    const float a = static_cast<float>(low), b = static_cast<float>(high), span = b - a;
    generate<4>(stream, begin, end, static_cast<float*>(out), [=](const Bits& bits, float* values) {
      for (int w = 0; w < 4; w++)
        for (int i = 0; i < kBlocks; i++) values[4 * i + w] = within(a + uniformFloat(bits.word[w][i]) * span, a, b);
    });
  } else {
    const double span = high - low;
    generate<2>(stream, begin, end, static_cast<double*>(out), [=](const Bits& bits, double* values) {
      for (int half = 0; half < 2; half++)
        for (int i = 0; i < kBlocks; i++) {
          values[2 * i + half] = within(low + uniformDouble(bits.word[2 * half][i], bits.word[2 * half + 1][i]) * span, low, high);
        }
    });
  }
}

void normalRange(DType dtype, Stream stream, int64_t begin, int64_t end, double mean, double std, void* out) {
  if (dtype == DType::f32) {
    const float m = static_cast<float>(mean), s = static_cast<float>(std);
    generate<4>(stream, begin, end, static_cast<float*>(out), [=](const Bits& bits, float* values) {
      float pair[4][kBlocks];
      for (int half = 0; half < 2; half++)
        for (int i = 0; i < kBlocks; i++) normalPair(bits.word[2 * half][i], bits.word[2 * half + 1][i], pair[2 * half][i], pair[2 * half + 1][i]);
      for (int i = 0; i < kBlocks; i++)
        for (int w = 0; w < 4; w++) values[4 * i + w] = m + s * pair[w][i];
    });
  } else {
    generate<2>(stream, begin, end, static_cast<double*>(out), [=](const Bits& bits, double* values) {
      for (int i = 0; i < kBlocks; i++) {
        double first, second;
        normalPair(bits.wide(0, i), bits.wide(1, i), first, second);
        values[2 * i] = mean + std * first;
        values[2 * i + 1] = mean + std * second;
      }
    });
  }
}

void randintRange(Stream stream, int64_t begin, int64_t end, int64_t low, uint64_t count, int64_t* out) {
  generate<2>(stream, begin, end, out, [=](const Bits& bits, int64_t* values) {
    for (int i = 0; i < kBlocks; i++)
      for (int half = 0; half < 2; half++) {
        // floor(bits * count / 2^64), in 32-bit halves
        const uint64_t x = bits.wide(half, i), xl = x & 0xFFFFFFFFu, xh = x >> 32, cl = count & 0xFFFFFFFFu, ch = count >> 32;
        const uint64_t middle = xh * cl + ((xl * cl) >> 32), cross = xl * ch + (middle & 0xFFFFFFFFu);
        const uint64_t offset = xh * ch + (middle >> 32) + (cross >> 32);
        values[2 * i + half] = static_cast<int64_t>(static_cast<uint64_t>(low) + offset);
      }
  });
}

void bernoulliRange(Stream stream, int64_t begin, int64_t end, uint64_t threshold, uint8_t* out) {
  generate<4>(stream, begin, end, out, [=](const Bits& bits, uint8_t* values) {
    for (int i = 0; i < kBlocks; i++)
      for (int w = 0; w < 4; w++) values[4 * i + w] = bits.word[w][i] < threshold;
  });
}

void dropoutRange(DType dtype, Stream stream, int64_t begin, int64_t end, uint64_t threshold, double scale, const void* x, void* out) {
  dispatchFloat(dtype, "dropout", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = static_cast<const T*>(x);
    T* to = static_cast<T*>(out);
    const T factor = static_cast<T>(scale);
    constexpr int64_t kBatch = kBlocks * 4;
    Bits bits;
    T kept[kBatch];
    for (int64_t from = begin; from < end; from += kBatch) {
      bits.draw(stream, from / 4);
      for (int i = 0; i < kBlocks; i++)
        for (int w = 0; w < 4; w++) kept[4 * i + w] = bits.word[w][i] < threshold ? factor : T(0);
      const int64_t count = end - from < kBatch ? end - from : kBatch;
      for (int64_t i = 0; i < count; i++) to[from + i] = kept[i] != T(0) ? in[from + i] * kept[i] : T(0);
    }
  });
}

}  // namespace md::random::MD_ISA
