#include <cstring>

#include "op.h"

namespace md::index::MD_ISA {
namespace {

template <class T>
void selectElements(const T* x, const int64_t* index, int64_t count, const AxisSplit& split, int64_t begin, int64_t end, T* out) {
  for (int64_t row = begin; row < end; row++) out[row] = x[row / count * split.extent + index[row % count]];
}

template <class T>
void addRowsOf(const T* source, const int64_t* index, int64_t count, const AxisSplit& split, int64_t begin, int64_t end, int64_t part, int64_t parts, T* out) {
  const int64_t inner = split.inner;
  for (int64_t outer = begin; outer < end; outer++) {
    for (int64_t k = 0; k < count; k++) {
      if (parts > 1 && index[k] % parts != part) continue;
      const T* __restrict from = source + (outer * count + k) * inner;
      T* __restrict to = out + (outer * split.extent + index[k]) * inner;
      for (int64_t i = 0; i < inner; i++) to[i] += from[i];
    }
  }
}

template <class T>
int64_t findOutsideOf(const T* index, int64_t count, int64_t limit) {
  for (int64_t i = 0; i < count; i++) {
    if (index[i] < 0 || index[i] >= limit) return i;
  }
  return -1;
}

// visit(data offset, value offset) for every element of the index, in row-major order.
template <class F>
void walk(const IndexLoop& loop, const int64_t* index, F&& visit) {
  const int last = loop.rank - 1;
  int64_t at[kMaxRank] = {};
  int64_t data = 0, place = 0, value = 0;
  for (;;) {
    for (int64_t i = 0; i < loop.extent[last]; i++) {
      visit(data + i * loop.data[last] + index[place + i * loop.index[last]] * loop.along, value + i * loop.value[last]);
    }
    int axis = last - 1;
    for (; axis >= 0; axis--) {
      data += loop.data[axis];
      place += loop.index[axis];
      value += loop.value[axis];
      if (++at[axis] < loop.extent[axis]) break;
      data -= loop.data[axis] * loop.extent[axis];
      place -= loop.index[axis] * loop.extent[axis];
      value -= loop.value[axis] * loop.extent[axis];
      at[axis] = 0;
    }
    if (axis < 0) return;
  }
}

template <class T>
void gatherOf(const IndexLoop& loop, const T* data, const int64_t* index, T* value) {
  walk(loop, index, [&](int64_t from, int64_t to) { value[to] = data[from]; });
}

template <class T>
void scatterAddOf(const IndexLoop& loop, T* data, const int64_t* index, const T* value) {
  walk(loop, index, [&](int64_t to, int64_t from) { data[to] += value[from]; });
}

template <class T>
void setOnesOf(const int64_t* index, int64_t begin, int64_t end, int64_t classes, T* out) {
  for (int64_t row = begin; row < end; row++) {
    for (int64_t c = 0; c < classes; c++) out[row * classes + c] = 0;
    out[row * classes + index[row]] = 1;
  }
}

}  // namespace

int64_t findOutside(DType dtype, const void* index, int64_t count, int64_t limit) {
  return dtype == DType::i32 ? findOutsideOf(static_cast<const int32_t*>(index), count, limit) : findOutsideOf(static_cast<const int64_t*>(index), count, limit);
}

void selectRows(size_t itemBytes, const void* x, const int64_t* index, int64_t count, const AxisSplit& split, int64_t begin, int64_t end, void* out) {
  if (split.inner == 1 && itemBytes == 4) {
    return selectElements(static_cast<const uint32_t*>(x), index, count, split, begin, end, static_cast<uint32_t*>(out));
  }
  if (split.inner == 1 && itemBytes == 8) {
    return selectElements(static_cast<const uint64_t*>(x), index, count, split, begin, end, static_cast<uint64_t*>(out));
  }
  const size_t bytes = static_cast<size_t>(split.inner) * itemBytes;
  for (int64_t row = begin; row < end; row++) {
    const int64_t from = row / count * split.extent + index[row % count];
    std::memcpy(static_cast<char*>(out) + static_cast<size_t>(row) * bytes, static_cast<const char*>(x) + static_cast<size_t>(from) * bytes, bytes);
  }
}

void addRows(DType dtype, const void* source, const int64_t* index, int64_t count, const AxisSplit& split, int64_t begin, int64_t end,
             int64_t part, int64_t parts, void* out) {
  dispatchAny(dtype, [&]<class T>(std::type_identity<T>) {
    addRowsOf(static_cast<const T*>(source), index, count, split, begin, end, part, parts, static_cast<T*>(out));
  });
}

void gatherLoop(size_t itemBytes, const IndexLoop& loop, const void* data, const int64_t* index, void* value) {
  dispatchSize(itemBytes, [&]<class T>(std::type_identity<T>) { gatherOf(loop, static_cast<const T*>(data), index, static_cast<T*>(value)); });
}

void scatterAddLoop(DType dtype, const IndexLoop& loop, void* data, const int64_t* index, const void* value) {
  dispatchAny(dtype, [&]<class T>(std::type_identity<T>) {
    scatterAddOf(loop, static_cast<T*>(data), index, static_cast<const T*>(value));
  });
}

void setOnes(DType dtype, const int64_t* index, int64_t begin, int64_t end, int64_t classes, void* out) {
  dispatchAny(dtype, [&]<class T>(std::type_identity<T>) { setOnesOf(index, begin, end, classes, static_cast<T*>(out)); });
}

}  // namespace md::index::MD_ISA
