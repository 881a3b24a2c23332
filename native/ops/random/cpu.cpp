#include "../../core/philox.h"
#include "op.h"
#include "shared.h"

namespace md::random::MD_ISA {
namespace {

constexpr int kBlocks = 64;  // Philox blocks at a time, word by word, so that the loops vectorise

struct Bits {
  uint32_t word[4][kBlocks];

  // philox() of core/philox.h, a round of all blocks at a time.
  void draw(Stream stream, int64_t firstBlock) {
    for (int i = 0; i < kBlocks; i++) {
      const uint64_t counter = stream.counter + static_cast<uint64_t>(firstBlock + i);
      word[0][i] = static_cast<uint32_t>(counter);
      word[1][i] = static_cast<uint32_t>(counter >> 32);
      word[2][i] = word[3][i] = 0;
    }
    uint32_t k0 = static_cast<uint32_t>(stream.key), k1 = static_cast<uint32_t>(stream.key >> 32);
    for (int round = 0; round < 10; round++) {
      for (int i = 0; i < kBlocks; i++) philoxRound(word[0][i], word[1][i], word[2][i], word[3][i], k0, k1);
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
  }
  uint64_t wide(int half, int i) const { return static_cast<uint64_t>(word[2 * half][i]) << 32 | word[2 * half + 1][i]; }
};

// values[4 i + w] = f(word w of block i): computed word by word, then put in order.
template <class T, class F>
void mapWords(const Bits& bits, T* values, F f) {
  T mapped[4][kBlocks];
  for (int w = 0; w < 4; w++)
    for (int i = 0; i < kBlocks; i++) mapped[w][i] = f(bits.word[w][i]);
  for (int i = 0; i < kBlocks; i++)
    for (int w = 0; w < 4; w++) values[4 * i + w] = mapped[w][i];
}

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
      mapWords(bits, values, [=](uint32_t word) { return within(a + uniformFloat(word) * span, a, b); });
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
    mapWords(bits, values, [=](uint32_t word) { return static_cast<uint8_t>(word < threshold); });
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
      mapWords(bits, kept, [=](uint32_t word) { return word < threshold ? factor : T(0); });
      const int64_t count = end - from < kBatch ? end - from : kBatch;
      for (int64_t i = 0; i < count; i++) to[from + i] = kept[i] != T(0) ? in[from + i] * kept[i] : T(0);
    }
  });
}

}  // namespace md::random::MD_ISA
