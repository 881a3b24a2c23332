// Stores past the caches, for outputs that would not stay in them: a plain store reads its line first.
#pragma once
#include "vectors.h"

namespace md::MD_ISA {

/// Bytes of a part from which on they go past the caches: 16 MiB a thread, which has eight parts (core/thread_pool.h).
constexpr int64_t kStreamBytes = int64_t{2} << 20;
/// Bytes computed before they are stored so; they stay in the first-level cache.
constexpr int64_t kStreamPiece = int64_t{8} << 10;

/// Elements from one at work to one asked for, in loops that go over a row several times: later rows come in meanwhile.
constexpr int64_t kAhead = 1024;

/// Rows [begin, end) of `width` elements, the first of them at `out`: f(first, last, to) writes rows [first, last) from
/// `to` on. It is called once, or for piece after piece in rising order.
template <class T, class F>
inline __attribute__((always_inline)) void streamRows(T* out, int64_t begin, int64_t end, int64_t width, F&& f) {
  constexpr int64_t kElements = kStreamPiece / static_cast<int64_t>(sizeof(T));
  if ((end - begin) * width < kStreamBytes / static_cast<int64_t>(sizeof(T)) || width > kElements) return f(begin, end, out);
  alignas(64) T piece[kElements];
  const int64_t step = kElements / width;
  for (int64_t row = begin; row < end; row += step) {
    const int64_t last = row + step < end ? row + step : end;
    f(row, last, piece);
    streamBytes(piece, out + (row - begin) * width, (last - row) * width * static_cast<int64_t>(sizeof(T)));
  }
  streamFence();
}

/// out[i] = f(i, lanes) for each vector of n elements, straight past the caches where there are many of them.
template <class T, class F>
inline __attribute__((always_inline)) void streamVectors(T* out, int64_t n, F&& f) {
  constexpr int64_t W = Vec<T>::width, kBytes = W * static_cast<int64_t>(sizeof(T));
  const auto store = [&](int64_t i, int lanes) __attribute__((always_inline)) { storeLanes(f(i, lanes), out + i, lanes); };
  if (n < kStreamBytes / static_cast<int64_t>(sizeof(T))) return forVectors<T>(n, store);
  int64_t i = (-reinterpret_cast<intptr_t>(out) & (kBytes - 1)) / static_cast<int64_t>(sizeof(T));
  if (i > 0) store(0, static_cast<int>(i));
  for (; i + W <= n; i += W) f(i, static_cast<int>(W)).stream(out + i);
  if (i < n) store(i, static_cast<int>(n - i));
  streamFence();
}

}  // namespace md::MD_ISA
