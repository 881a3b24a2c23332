#include "cuda.h"

#include "../../core/cuda/launch.h"

namespace md::segment {
namespace {

using namespace md::cuda;

constexpr int64_t kChunk = 64;  // rows summed before they join the total, so that long segments lose less

__device__ int64_t rowOf(const Rows& rows, int64_t i) { return rows.order ? rows.order[i] : i; }

__global__ void checkOffsets(int64_t segments, int64_t count, bool nonempty, const int32_t* __restrict__ offsets, int32_t* __restrict__ out,
                             Complaint* complaint, const char* op) {
  gridStride(segments + 1, [&](int64_t s) {
    const int64_t at = offsets[s], end = s == segments ? count : offsets[s + 1];
    const bool rising = at <= end && (s > 0 || at == 0) && (s < segments || at == count);
    if (!rising) complain(complaint, op, Wrong::offsets, s, at, count);
    if (rising && nonempty && s < segments && at == end) complain(complaint, op, Wrong::emptySegment, s);
    out[s] = static_cast<int32_t>(at < 0 ? 0 : at > count ? count : at);
  });
}

/// seen [rows], cleared.
__global__ void checkOrder(int64_t count, const int32_t* __restrict__ order, int32_t* __restrict__ out, int32_t* seen, Complaint* complaint, const char* op) {
  gridStride(count, [&](int64_t i) {
    const int32_t row = order[i];
    const bool inside = row >= 0 && row < count;
    if (!inside || atomicAdd(&seen[row], 1) != 0) complain(complaint, op, Wrong::order, i, row, count);
    out[i] = inside ? row : 0;
  });
}

template <class T>
__global__ void reduceKernel(Rows rows, int64_t segments, bool mean, const T* __restrict__ x, T* __restrict__ out) {
  gridStride(segments * rows.inner, [&](int64_t unit) {
    const int64_t s = unit / rows.inner, first = rows.offsets[s], last = rows.offsets[s + 1];
    const T* from = x + unit % rows.inner;
    T total = 0;
    for (int64_t chunk = first; chunk < last; chunk += kChunk) {
      T sum = from[rowOf(rows, chunk) * rows.inner];
      for (int64_t i = chunk + 1; i < last && i < chunk + kChunk; i++) sum += from[rowOf(rows, i) * rows.inner];
      total = chunk == first ? sum : total + sum;
    }
    out[unit] = mean && last > first ? total / static_cast<T>(last - first) : total;
  });
}

/// places [rows], cleared: 1 + the place of each row in the order.
__global__ void placeRows(int64_t count, const int32_t* __restrict__ order, int32_t* places) {
  gridStride(count, [&](int64_t i) { atomicMax(&places[order[i]], static_cast<int32_t>(i + 1)); });
}

/// A thread owns an element of a row. Without an order `places` is null; `chosen` is null where all rows of a segment get its own.
template <class T>
__global__ void spreadKernel(int64_t count, int64_t inner, const int32_t* __restrict__ offsets, int64_t segments, const int32_t* __restrict__ places, bool mean,
                             const int32_t* __restrict__ chosen, const T* __restrict__ grad, T* __restrict__ out) {
  gridStride(count * inner, [&](int64_t unit) {
    const int64_t row = unit / inner, place = places ? places[row] - 1 : row;
    int64_t low = 0, high = segments;  // the first segment that ends behind the place
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (offsets[middle + 1] > place) high = middle;
      else low = middle + 1;
    }
    const bool found = place >= 0 && low < segments && offsets[low] <= place;  // unless a complaint was made
    const int64_t from = low * inner + unit % inner;
    const T value = found && (!chosen || chosen[from] == row) ? grad[from] : T(0);
    out[unit] = found && mean ? value / static_cast<T>(offsets[low + 1] - offsets[low]) : value;
  });
}

template <class T>
__global__ void maxKernel(Rows rows, int64_t segments, const T* __restrict__ x, T* __restrict__ values, int32_t* __restrict__ from) {
  gridStride(segments * rows.inner, [&](int64_t unit) {
    const int64_t s = unit / rows.inner, column = unit % rows.inner, first = rows.offsets[s], last = rows.offsets[s + 1];
    T best = 0;
    int64_t chosen = 0;
    for (int64_t i = first; i < last; i++) {
      const int64_t row = rowOf(rows, i);
      const T value = x[row * rows.inner + column];
      // Not (best >= value), so that NaN wins; a NaN that has won stays.
      if (i > first && (best >= value || best != best)) continue;
      best = value;
      chosen = row;
    }
    values[unit] = best;
    from[unit] = static_cast<int32_t>(chosen);
  });
}

}  // namespace

Tensor checkedOffsetsCuda(Context& context, const Tensor& offsets, int64_t rows, bool nonempty, const char* op) {
  Tensor out = empty(context, DType::i32, offsets.shape, op);
  launch(context, op, checkOffsets, blocksFor(offsets.numel()), kThreads, offsets.numel() - 1, rows, nonempty, offsets.data<int32_t>(), out.data<int32_t>(),
         complaintOf(context), op);
  return out;
}

Tensor checkedOrderCuda(Context& context, const Tensor& order, const char* op) {
  Tensor out = empty(context, DType::i32, order.shape, op);
  const Tensor seen = empty(context, DType::i32, order.shape, op);
  const int64_t n = order.numel();
  if (n == 0) return out;
  clear(context, seen, op);
  launch(context, op, checkOrder, blocksFor(n), kThreads, n, order.data<int32_t>(), out.data<int32_t>(), seen.data<int32_t>(), complaintOf(context), op);
  return out;
}

void reduceCuda(Context& context, const Rows& rows, int64_t segments, Reduction reduction, const Tensor& x, const Tensor& out, const char* op) {
  const int64_t n = out.numel();
  if (n == 0) return;
  dispatchFloat(x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, reduceKernel<T>, blocksFor(n), kThreads, rows, segments, reduction == Reduction::mean, x.data<T>(), out.data<T>());
  });
}

void spreadCuda(Context& context, const Rows& rows, int64_t segments, Reduction reduction, const int32_t* chosen, const Tensor& grad, const Tensor& out,
                const char* op) {
  const int64_t n = out.numel(), count = out.dim(0);
  if (n == 0) return;
  Tensor places;
  if (rows.order) {
    places = empty(context, DType::i32, {count}, op);
    clear(context, places, op);
    launch(context, op, placeRows, blocksFor(count), kThreads, count, rows.order, places.data<int32_t>());
  }
  dispatchFloat(grad.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, spreadKernel<T>, blocksFor(n), kThreads, count, rows.inner, rows.offsets, segments, rows.order ? places.data<int32_t>() : nullptr,
           reduction == Reduction::mean, chosen, grad.data<T>(), out.data<T>());
  });
}

void maxCuda(Context& context, const Rows& rows, int64_t segments, const Tensor& x, const Maximum& out, const char* op) {
  const int64_t n = out.values.numel();
  if (n == 0) return;
  dispatchFloat(x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, maxKernel<T>, blocksFor(n), kThreads, rows, segments, x.data<T>(), out.values.data<T>(), out.rows.data<int32_t>());
  });
}

}  // namespace md::segment
