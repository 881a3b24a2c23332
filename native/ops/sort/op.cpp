#include "op.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "cuda.h"

namespace md::sort {
namespace {

constexpr int kDigitBits = 11;          // 2048 counters stay in the first-level cache
constexpr int64_t kRadixGrain = 1 << 14;  // codes below which a second thread costs more than it brings
constexpr int64_t kRowGrain = 1 << 12;    // elements of short rows, likewise
constexpr int64_t kLongRow = 1 << 15;     // rows from here on are sorted by all threads together
constexpr int64_t kSelection = 64;        // up to this k, one pass with a sorted buffer beats sorting

/// body(part, begin, end) for `parts` runs of n codes.
template <class F>
void eachRun(Context& context, int64_t n, int64_t parts, F&& body) {
  parallelFor(context.pool, parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; part++) body(part, n * part / parts, n * (part + 1) / parts);
  });
}
int64_t runsOf(const Context& context, int64_t n) { return std::clamp<int64_t>(n / kRadixGrain, 1, context.pool.threads()); }

// Codes and order less those that cannot be among the k first: the highest digit of the k-th decides.
void keepFirst(Context& context, Tensor& codes, Tensor& order, int bits, int64_t k, const char* op) {
  const int shift = bits - kDigitBits;
  if (shift <= 0) return;
  const int64_t n = codes.numel(), digits = int64_t{1} << kDigitBits;
  const int64_t parts = runsOf(context, n);
  const Tensor counters = empty(context, DType::i32, {parts, digits}, op);
  int32_t* const counts = counters.data<int32_t>();
  std::fill_n(counts, parts * digits, 0);
  eachRun(context, n, parts, [&](int64_t part, int64_t begin, int64_t end) {
    MD_CALL(digitCounts)(codes.data<int64_t>(), begin, end, shift, digits - 1, counts + part * digits);
  });
  std::vector<int64_t> kept(static_cast<size_t>(parts) + 1);
  int64_t last = -1;
  for (int64_t total = 0; total < k;) {
    last++;
    for (int64_t part = 0; part < parts; part++) {
      kept[static_cast<size_t>(part) + 1] += counts[part * digits + last];
      total += counts[part * digits + last];
    }
  }
  std::partial_sum(kept.begin(), kept.end(), kept.begin());
  Tensor codesOut = empty(context, DType::i64, {kept.back()}, op), orderOut = empty(context, DType::i32, {kept.back()}, op);
  eachRun(context, n, parts, [&](int64_t part, int64_t begin, int64_t end) {
    const int64_t to = kept[static_cast<size_t>(part)];
    MD_CALL(digitsUpTo)(codes.data<int64_t>(), order.data<int32_t>(), begin, end, shift, digits - 1, last, codesOut.data<int64_t>() + to,
                        orderOut.data<int32_t>() + to);
  });
  codes = codesOut;
  order = orderOut;
}

// The k first elements in order of every row along `axis`; k is the extent for a whole sort.
Sorted order(Context& context, const Tensor& given, int axis, int64_t k, bool descending, const char* op) {
  const Tensor x = contiguous(context, given, op);
  const AxisSplit split = splitAt(x.shape, axis);
  const int64_t n = split.extent, rows = split.outer * split.inner;
  if (n > INT32_MAX) fail(ErrorKind::shape, op, "axis ", axis, " of shape ", x.shape.str(), " is longer than 2^31 - 1");
  Dims shape = x.shape;
  shape[axis] = k;
  Sorted out{empty(context, x.dtype, shape, op), empty(context, DType::i64, shape, op)};
  if (out.values.numel() == 0) return out;
  if (context.onCuda()) {
    orderCuda(context, split, k, descending, x, out, op);
    return out;
  }
  const auto size = static_cast<int64_t>(itemSize(x.dtype));
  const int bits = static_cast<int>(8 * size);
  const auto rowAt = [&](int64_t row) -> Row {
    const int64_t first = row / split.inner * n * split.inner + row % split.inner;
    return {static_cast<const char*>(x.raw()) + first * size, split.inner, n};
  };
  const auto emit = [&](int64_t row, const int32_t* places) {
    const int64_t first = row / split.inner * k * split.inner + row % split.inner;
    MD_CALL(emitRow)(x.dtype, rowAt(row), places, k, split.inner, static_cast<char*>(out.values.raw()) + first * size, out.indices.data<int64_t>() + first);
  };
  if (n >= kLongRow && k > kSelection) {
    context.pool.finish();
    for (int64_t row = 0; row < rows; row++) {
      Tensor codes = empty(context, DType::i64, {n}, op), places = empty(context, DType::i32, {n}, op);
      MD_CALL(encodeRow)(x.dtype, rowAt(row), descending, codes.data<int64_t>(), places.data<int32_t>());
      if (k < n) keepFirst(context, codes, places, bits, k, op);
      radixSort(context, codes, places, bits, op);
      emit(row, places.data<int32_t>());
    }
    return out;
  }
  const int64_t parts = std::min<int64_t>(std::clamp<int64_t>(rows * n / kRowGrain, 1, context.pool.threads()), rows);
  const Tensor codes = empty(context, DType::i64, {parts, 2 * n}, op), places = empty(context, DType::i32, {parts, 2 * n}, op);
  parallelFor(context.pool, parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; part++) {
      int64_t* code = codes.data<int64_t>() + part * 2 * n;
      int32_t* place = places.data<int32_t>() + part * 2 * n;
      for (int64_t row = rows * part / parts; row < rows * (part + 1) / parts; row++) {
        MD_CALL(encodeRow)(x.dtype, rowAt(row), descending, code, place);
        if (k < n && k <= kSelection) {
          MD_CALL(selectRow)(code, place, n, k);
        } else {
          MD_CALL(sortRow)(code, place, n, bits, code + n, place + n);
        }
        emit(row, place);
      }
    }
  });
  return out;
}

}  // namespace

Sorted sort(Context& context, const Tensor& x, int64_t axis, bool descending, const char* op) {
  const int resolved = resolveAxis(axis, x.rank(), op);
  return order(context, x, resolved, x.shape[resolved], descending, op);
}

Sorted topk(Context& context, const Tensor& x, int64_t k, int64_t axis, bool largest, const char* op) {
  const int resolved = resolveAxis(axis, x.rank(), op);
  if (k < 0 || k > x.shape[resolved]) {
    fail(ErrorKind::value, op, "k is ", k, ", expected 0 to ", x.shape[resolved], " for axis ", resolved, " of shape ", x.shape.str());
  }
  return order(context, x, resolved, k, largest, op);
}

void radixSort(Context& context, Tensor& codes, Tensor& order, int bits, const char* op) {
  const int64_t n = codes.numel();
  if (context.onCuda()) return radixSortCuda(context, codes, order, bits, op);
  const int passes = (bits + kDigitBits - 1) / kDigitBits;
  if (n < 2 || passes == 0) return;
  const int width = (bits + passes - 1) / passes;
  const int64_t digits = int64_t{1} << width;
  const int64_t parts = runsOf(context, n);
  Tensor codesOut = empty(context, DType::i64, codes.shape, op), orderOut = empty(context, DType::i32, order.shape, op);
  const Tensor counters = empty(context, DType::i32, {parts, digits}, op);
  int32_t* next = counters.data<int32_t>();
  context.pool.finish();
  for (int shift = 0; shift < bits; shift += width) {
    std::fill_n(next, parts * digits, 0);
    eachRun(context, n, parts, [&](int64_t part, int64_t begin, int64_t end) {
      MD_CALL(digitCounts)(codes.data<int64_t>(), begin, end, shift, digits - 1, next + part * digits);
    });
    int32_t sum = 0;
    for (int64_t digit = 0; digit < digits; digit++) {
      for (int64_t part = 0; part < parts; part++) sum += std::exchange(next[part * digits + digit], sum);
    }
    eachRun(context, n, parts, [&](int64_t part, int64_t begin, int64_t end) {
      MD_CALL(digitScatter)(codes.data<int64_t>(), order.data<int32_t>(), begin, end, shift, digits - 1, next + part * digits,
                            codesOut.data<int64_t>(), orderOut.data<int32_t>());
    });
    std::swap(codes, codesOut);
    std::swap(order, orderOut);
  }
}

}  // namespace md::sort
