#include "op.h"

#include <algorithm>
#include <utility>

namespace md::sort {
namespace {

constexpr int kDigitBits = 11;          // 2048 counters stay in the first-level cache
constexpr int64_t kRadixGrain = 1 << 14;  // codes below which a second thread costs more than it brings

}  // namespace

void radixSort(Context& context, Tensor& codes, Tensor& order, int bits, const char* op) {
  const int64_t n = codes.numel();
  const int passes = (bits + kDigitBits - 1) / kDigitBits;
  if (n < 2 || passes == 0) return;
  const int width = (bits + passes - 1) / passes;
  const int64_t digits = int64_t{1} << width;
  const int64_t parts = std::clamp<int64_t>(n / kRadixGrain, 1, context.pool.threads());
  Tensor codesOut = empty(context, DType::i64, codes.shape, op), orderOut = empty(context, DType::i32, order.shape, op);
  const Tensor counters = empty(context, DType::i32, {parts, digits}, op);
  int32_t* next = counters.data<int32_t>();
  const auto eachPart = [&](auto&& body) {
    parallelFor(context.pool, parts, 1, [&](int64_t first, int64_t last) {
      for (int64_t part = first; part < last; part++) body(n * part / parts, n * (part + 1) / parts, next + part * digits);
    });
  };
  for (int shift = 0; shift < bits; shift += width) {
    std::fill_n(next, parts * digits, 0);
    eachPart([&](int64_t begin, int64_t end, int32_t* counts) {
      MD_CALL(digitCounts)(codes.data<int64_t>(), begin, end, shift, digits - 1, counts);
    });
    int32_t sum = 0;
    for (int64_t digit = 0; digit < digits; digit++) {
      for (int64_t part = 0; part < parts; part++) sum += std::exchange(next[part * digits + digit], sum);
    }
    eachPart([&](int64_t begin, int64_t end, int32_t* place) {
      MD_CALL(digitScatter)(codes.data<int64_t>(), order.data<int32_t>(), begin, end, shift, digits - 1, place,
                            codesOut.data<int64_t>(), orderOut.data<int32_t>());
    });
    std::swap(codes, codesOut);
    std::swap(order, orderOut);
  }
}

}  // namespace md::sort
