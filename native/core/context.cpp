#include "context.h"

#include <cstring>

#include "cuda/copy.h"

namespace md {

Tensor empty(Context& context, DType dtype, const Dims& shape, const char* op) {
  constexpr int64_t kMost = int64_t{1} << 40;
  int64_t n = 1;
  for (int i = 0; i < shape.rank; i++) {
    if (shape[i] < 0) fail(ErrorKind::shape, op, "shape ", shape.str(), " has a negative extent");
    if (shape[i] > 0 && n > kMost / shape[i]) fail(ErrorKind::outOfMemory, op, "shape ", shape.str(), " has more than 2^40 elements");
    n *= shape[i];
  }
  Tensor out;
  out.dtype = dtype;
  out.device = context.stream.device;
  out.shape = shape;
  out.stride = contiguousStrides(shape);
  if (context.onCuda()) cuda::requireLive(context, op);  // memory that a lost device refuses is no lack of memory
  out.storage = std::make_shared<Storage>(*context.allocator, static_cast<size_t>(n) * itemSize(dtype), op);
  return out;
}

Tensor contiguous(Context& context, const Tensor& x, const char* op) {
  if (x.contiguous()) return x;
  Tensor out = empty(context, x.dtype, x.shape, op);
  copyInto(context, x, out.raw(), op);
  return out;
}

namespace {

template <class T>
void copyStrided(const Tensor& x, T* out) {
  const int last = x.rank() - 1;
  const int64_t inner = x.shape[last], step = x.stride[last];
  const int64_t outer = inner ? x.numel() / inner : 0;
  const T* base = x.data<T>();
  Dims index;
  index.rank = last;
  int64_t offset = 0;
  for (int64_t row = 0; row < outer; row++) {
    const T* in = base + offset;
    if (step == 1) {
      std::memcpy(out, in, static_cast<size_t>(inner) * sizeof(T));
    } else {
      for (int64_t i = 0; i < inner; i++) out[i] = in[i * step];
    }
    out += inner;
    for (int axis = last - 1; axis >= 0; axis--) {
      offset += x.stride[axis];
      if (++index[axis] < x.shape[axis]) break;
      offset -= x.stride[axis] * x.shape[axis];
      index[axis] = 0;
    }
  }
}

}  // namespace

void copyInto(Context& context, const Tensor& x, void* out, const char* op) {
  if (x.numel() == 0) return;
  const size_t size = itemSize(x.dtype);
  if (context.onCuda()) {
    if (x.contiguous()) return context.stream.queue->copy(x.raw(), out, static_cast<size_t>(x.numel()) * size, op);
    return cuda::gatherStrided(context, x, out, op);
  }
  if (x.contiguous()) {
    context.pool.finish();
    std::memcpy(out, x.raw(), static_cast<size_t>(x.numel()) * size);
    return;
  }
  // Split over the first axis; each part is a view of its own.
  const int64_t rowBytes = x.numel() / x.shape[0] * static_cast<int64_t>(size);
  parallelFor(context.pool, x.shape[0], rowBytes ? 1 + (1 << 16) / rowBytes : 1, [&](int64_t begin, int64_t end) {
    Tensor part = x;
    part.shape[0] = end - begin;
    part.offset += begin * x.stride[0];
    char* to = static_cast<char*>(out) + begin * rowBytes;
    dispatchSize(size, [&](auto tag) { copyStrided(part, reinterpret_cast<typename decltype(tag)::type*>(to)); });
  });
}

void copyToHost(Context& context, const Tensor& x, void* out, const char* op) {
  if (!context.onCuda()) return copyInto(context, x, out, op);
  const Tensor packed = contiguous(context, x, op);
  context.stream.queue->download(packed.raw(), out, static_cast<size_t>(x.numel()) * itemSize(x.dtype), op);
}

void copyFromHost(Context& context, const void* host, const Tensor& out, const char* op) {
  const size_t bytes = static_cast<size_t>(out.numel()) * itemSize(out.dtype);
  if (bytes == 0) return;  // an empty array has no address
  if (context.onCuda()) return context.stream.queue->upload(host, out.raw(), bytes, op);
  context.pool.finish();
  std::memcpy(out.raw(), host, bytes);
}

void clear(Context& context, const Tensor& x, const char* op) {
  const size_t bytes = static_cast<size_t>(x.numel()) * itemSize(x.dtype);
  if (bytes == 0) return;
  if (context.onCuda()) return context.stream.queue->clear(x.raw(), bytes, op);
  context.pool.finish();
  std::memset(x.raw(), 0, bytes);
}

void requireDType(const Tensor& x, DType dtype, const char* op, const char* operand) {
  if (x.dtype != dtype) fail(ErrorKind::dtype, op, operand, " has dtype ", dtypeName(x.dtype), ", expected ", dtypeName(dtype));
}

void requireFloat(const Tensor& x, const char* op, const char* operand) {
  if (!isFloat(x.dtype)) fail(ErrorKind::dtype, op, operand, " has dtype ", dtypeName(x.dtype), ", expected f32 or f64");
}

void requireStoredFloat(const Tensor& x, const char* op, const char* operand) {
  if (isFloat(x.dtype) || (isHalf(x.dtype) && !x.device.isCpu())) return;
  fail(ErrorKind::dtype, op, operand, " has dtype ", dtypeName(x.dtype), ", expected a float");
}

void requireRank(const Tensor& x, int rank, const char* op, const char* operand) {
  if (x.rank() != rank) fail(ErrorKind::shape, op, operand, " has shape ", x.shape.str(), ", expected rank ", rank);
}

void requireShape(const Tensor& x, const Dims& shape, const char* op, const char* operand) {
  if (!(x.shape == shape)) fail(ErrorKind::shape, op, operand, " has shape ", x.shape.str(), ", expected ", shape.str());
}

int resolveAxis(int64_t axis, int rank, const char* op) {
  const int64_t resolved = axis < 0 ? axis + rank : axis;
  if (resolved < 0 || resolved >= rank) fail(ErrorKind::shape, op, "axis ", axis, " is out of range for rank ", rank);
  return static_cast<int>(resolved);
}

}  // namespace md
