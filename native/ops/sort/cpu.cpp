#include <cstring>

#include "op.h"
#include "shared.h"

namespace md::sort::MD_ISA {
namespace {

constexpr int64_t kInsertion = 32;  // rows up to here are sorted by insertion
constexpr int kByte = 8;

template <class T>
void encodeRowOf(const T* x, int64_t stride, int64_t extent, bool descending, int64_t* codes, int32_t* order) {
  for (int64_t i = 0; i < extent; i++) {
    codes[i] = static_cast<int64_t>(codeOf(x[i * stride], descending));
    order[i] = static_cast<int32_t>(i);
  }
}

bool less(int64_t a, int64_t b) { return static_cast<uint64_t>(a) < static_cast<uint64_t>(b); }

void insertionSort(int64_t* codes, int32_t* order, int64_t n) {
  for (int64_t i = 1; i < n; i++) {
    const int64_t code = codes[i];
    const int32_t from = order[i];
    int64_t j = i;
    for (; j > 0 && less(code, codes[j - 1]); j--) {
      codes[j] = codes[j - 1];
      order[j] = order[j - 1];
    }
    codes[j] = code;
    order[j] = from;
  }
}

}  // namespace

void encodeRow(DType dtype, const Row& row, bool descending, int64_t* codes, int32_t* order) {
  dispatchAny(dtype, [&]<class T>(std::type_identity<T>) {
    encodeRowOf(static_cast<const T*>(row.x), row.stride, row.extent, descending, codes, order);
  });
}

void emitRow(DType dtype, const Row& row, const int32_t* order, int64_t count, int64_t stride, void* values, int64_t* indices) {
  dispatchAny(dtype, [&]<class T>(std::type_identity<T>) {
    for (int64_t i = 0; i < count; i++) {
      static_cast<T*>(values)[i * stride] = static_cast<const T*>(row.x)[order[i] * row.stride];
      indices[i * stride] = order[i];
    }
  });
}

void sortRow(int64_t* codes, int32_t* order, int64_t n, int bits, int64_t* spareCodes, int32_t* spareOrder) {
  if (n <= kInsertion) return insertionSort(codes, order, n);
  int64_t *from = codes, *to = spareCodes;
  int32_t *orderFrom = order, *orderTo = spareOrder;
  for (int shift = 0; shift < bits; shift += kByte) {
    int32_t next[1 << kByte] = {};
    digitCounts(from, 0, n, shift, (1 << kByte) - 1, next);
    if (next[from[0] >> shift & ((1 << kByte) - 1)] == n) continue;  // every code has this digit
    int32_t sum = 0;
    for (int32_t& place : next) {
      const int32_t count = place;
      place = sum;
      sum += count;
    }
    digitScatter(from, orderFrom, 0, n, shift, (1 << kByte) - 1, next, to, orderTo);
    int64_t* const codesSwap = from;
    int32_t* const orderSwap = orderFrom;
    from = to, to = codesSwap;
    orderFrom = orderTo, orderTo = orderSwap;
  }
  if (from != codes) {
    std::memcpy(codes, from, static_cast<size_t>(n) * sizeof(int64_t));
    std::memcpy(order, orderFrom, static_cast<size_t>(n) * sizeof(int32_t));
  }
}

void selectRow(int64_t* codes, int32_t* order, int64_t n, int64_t k) {
  insertionSort(codes, order, k);
  for (int64_t i = k; i < n; i++) {
    const int64_t code = codes[i];
    if (!less(code, codes[k - 1])) continue;
    const int32_t from = order[i];
    int64_t j = k - 1;
    for (; j > 0 && less(code, codes[j - 1]); j--) {
      codes[j] = codes[j - 1];
      order[j] = order[j - 1];
    }
    codes[j] = code;
    order[j] = from;
  }
}

void digitCounts(const int64_t* codes, int64_t begin, int64_t end, int shift, int64_t mask, int32_t* counts) {
  for (int64_t i = begin; i < end; i++) counts[codes[i] >> shift & mask]++;
}

void digitsUpTo(const int64_t* codes, const int32_t* order, int64_t begin, int64_t end, int shift, int64_t mask, int64_t last,
                int64_t* codesOut, int32_t* orderOut) {
  for (int64_t i = begin, to = 0; i < end; i++) {
    if ((codes[i] >> shift & mask) > last) continue;
    codesOut[to] = codes[i];
    orderOut[to++] = order[i];
  }
}

void digitScatter(const int64_t* codes, const int32_t* order, int64_t begin, int64_t end, int shift, int64_t mask,
                  int32_t* next, int64_t* codesOut, int32_t* orderOut) {
  for (int64_t i = begin; i < end; i++) {
    const int32_t to = next[codes[i] >> shift & mask]++;
    codesOut[to] = codes[i];
    orderOut[to] = order[i];
  }
}

}  // namespace md::sort::MD_ISA
