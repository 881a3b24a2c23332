// Stores past the caches, for outputs that would not stay in them: a plain store reads its line first.
#pragma once
#include <type_traits>

#include "several.h"
#include "vectors.h"

namespace md::MD_ISA {

/// Bytes of a part from which on they go past the caches: 16 MiB a thread, which has eight parts (core/thread_pool.h).
constexpr int64_t kStreamBytes = int64_t{2} << 20;
/// Bytes computed before they are stored so; they stay in the first-level cache.
constexpr int64_t kStreamPiece = int64_t{8} << 10;
template <class T>
constexpr int64_t kPiece = kStreamPiece / static_cast<int64_t>(sizeof(T));

/// Elements from one at work to one asked for, in loops that go over a row several times: later rows come in meanwhile.
constexpr int64_t kAhead = 1024;
constexpr int kLine = 64;  // bytes that are fetched together

/// Rows that go through a pass together, before the next pass: what one row's pass ends with, across its lanes, is waited
/// for by nobody then. Fewer of them where together they would not stay in the first-level cache.
constexpr int64_t kTogether = 8;
/// Elements from one at work to one asked for, where rows go together: beyond all of theirs.
constexpr int64_t kBeyond = 3072;

/// f(first, count) for groups of rows [begin, end) of `width` >= 1 elements that go together.
template <class T, class F>
inline __attribute__((always_inline)) void forRowsTogether(int64_t begin, int64_t end, int64_t width, F&& f) {
  const int64_t most = kPiece<T> / width;
  const int64_t step = most < 1 ? 1 : most < kTogether ? most : kTogether;
  for (int64_t row = begin; row < end; row += step) f(row, row + step < end ? step : end - row);
}

/// Whether so many elements go past the caches.
template <class T>
inline bool areMany(int64_t elements) {
  return elements >= kStreamBytes / static_cast<int64_t>(sizeof(T));
}

/// Rows [begin, end) of `width` elements, the first of them at `out`: f(first, last, to) writes rows [first, last) from
/// `to` on. It is called once, or for piece after piece in rising order.
template <class T, class F>
inline __attribute__((always_inline)) void streamPieces(T* out, int64_t begin, int64_t end, int64_t width, F&& f) {
  if (!areMany<T>((end - begin) * width) || width > kPiece<T>) return f(begin, end, out);
  alignas(64) T piece[kPiece<T>];
  const int64_t step = kPiece<T> / width;
  for (int64_t row = begin; row < end; row += step) {
    const int64_t last = row + step < end ? row + step : end;
    f(row, last, piece);
    streamBytes(piece, out + (row - begin) * width, (last - row) * width * static_cast<int64_t>(sizeof(T)));
  }
  streamFence();
}

/// Elements before the first that lies where a vector may.
template <class T>
inline int64_t elementsToVector(const T* out) {
  constexpr int64_t size = sizeof(T);
  return (-reinterpret_cast<intptr_t>(out) & (Vec<T>::width * size - 1)) / size;
}

/// Like streamPieces, with f(first, last, to, past) whose vectors of a row putLanes<past> writes, each once. Where they lie
/// as vectors may they go past the caches as they are computed: loads and such stores side by side are faster than in turn.
template <class T, class F>
inline __attribute__((always_inline)) void streamRows(T* out, int64_t begin, int64_t end, int64_t width, F&& f) {
  if (areMany<T>((end - begin) * width) && width % Vec<T>::width == 0 && elementsToVector(out) == 0) {
    f(begin, end, out, std::true_type{});
    return streamFence();
  }
  streamPieces(out, begin, end, width, [&](int64_t first, int64_t last, T* to) __attribute__((always_inline)) { f(first, last, to, std::false_type{}); });
}

/// out[i] = f(i) for each of n elements; where there are many of them, straight past the caches by several vectors at a time.
template <class T, class F>
inline __attribute__((always_inline)) void streamElements(T* __restrict out, int64_t n, F&& f) {
  constexpr int64_t S = Several<T>::width;
  int64_t i = 0;
  if (areMany<T>(n)) {
    for (const int64_t head = elementsToVector(out); i < head; i++) out[i] = f(i);
    for (; i + S <= n; i += S) {
      alignas(64) T piece[S];
      for (int64_t k = 0; k < S; k++) piece[k] = f(i + k);
      Several<T>::load(piece).stream(out + i);
    }
    streamFence();
  }
  for (; i < n; i++) out[i] = f(i);
}

/// out[i] = f(at), where at(x) is x[i], for each of n elements, several vectors or one at a time; straight past the caches
/// where there are many of them.
template <class T, class F>
inline __attribute__((always_inline)) void streamVectors(T* out, int64_t n, F&& f) {
  constexpr int W = Vec<T>::width;
  const bool past = areMany<T>(n);
  const auto part = [&](int64_t i, int lanes) {
    storeLanes(f([=](const T* x) { return loadLanes(x + i, lanes); }), out + i, lanes);
  };
  int64_t i = past ? elementsToVector(out) : 0;
  if (i > 0) part(0, static_cast<int>(i));
  for (; i + Several<T>::width <= n; i += Several<T>::width) {
    const Several<T> y = f([=](const T* x) __attribute__((always_inline)) { return Several<T>::load(x + i); });
    past ? y.stream(out + i) : y.store(out + i);
  }
  for (; i < n; i += W) part(i, n - i < W ? static_cast<int>(n - i) : W);
  if (past) streamFence();
}

}  // namespace md::MD_ISA
