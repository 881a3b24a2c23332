#include "context.h"

#include <cstring>
#include <vector>

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

constexpr int64_t kCopyGrain = 1 << 16;          // bytes below which a second thread costs more than it brings
constexpr size_t kStagedBytes = size_t{1} << 18;  // of host memory: up to so many are copied twice, so that nobody waits

// The layout of a tensor, for regions that outlast it.
struct Strided {
  const char* data;
  Dims shape, stride;
};

template <class T>
void copyStrided(const Strided& x, T* out) {
  const int last = x.shape.rank - 1;
  const int64_t inner = x.shape[last], step = x.stride[last];
  const int64_t outer = inner ? x.shape.numel() / inner : 0;
  const T* base = reinterpret_cast<const T*>(x.data);
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
  const auto size = static_cast<int64_t>(itemSize(x.dtype));
  if (context.onCuda()) {
    if (x.contiguous()) return context.stream.queue->copy(x.raw(), out, static_cast<size_t>(x.numel() * size), op);
    return cuda::gatherStrided(context, x, out, op);
  }
  char* const to = static_cast<char*>(out);
  if (x.contiguous()) {
    parallelForLater(context.pool, x.numel() * size, kCopyGrain, [to, from = x.data<char>()](int64_t begin, int64_t end) {
      std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin));
    });
    return;
  }
  // Split over the first axis of more than one; each part is a view of its own.
  int axis = 0;
  while (x.shape[axis] == 1 && axis + 1 < x.rank()) axis++;
  const int64_t rowBytes = x.numel() / x.shape[axis] * size;
  parallelForLater(context.pool, x.shape[axis], 1 + kCopyGrain / rowBytes, [=, view = Strided{x.data<char>(), x.shape, x.stride}](int64_t begin, int64_t end) {
    Strided part = view;
    part.shape[axis] = end - begin;
    part.data += begin * view.stride[axis] * size;
    dispatchSize(static_cast<size_t>(size), [&](auto tag) { copyStrided(part, reinterpret_cast<typename decltype(tag)::type*>(to + begin * rowBytes)); });
  });
}

void copyToHost(Context& context, const Tensor& x, void* out, const char* op) {
  const Tensor packed = contiguous(context, x, op);
  const size_t bytes = static_cast<size_t>(x.numel()) * itemSize(x.dtype);
  if (context.onCuda()) return context.stream.queue->download(packed.raw(), out, bytes, op);
  awaitElements(context, packed);
  if (bytes > 0) std::memcpy(out, packed.raw(), bytes);
}

void copyFromHost(Context& context, const void* host, const Tensor& out, const char* op) {
  const size_t bytes = static_cast<size_t>(out.numel()) * itemSize(out.dtype);
  if (bytes == 0) return;  // an empty array has no address
  if (context.onCuda()) return context.stream.queue->upload(host, out.raw(), bytes, op);
  if (bytes <= kStagedBytes) {
    const auto* from = static_cast<const char*>(host);
    return shareOutLater(context.pool, 1, [to = out.raw(), staged = std::vector<char>(from, from + bytes)](int64_t, int64_t) {
      std::memcpy(to, staged.data(), staged.size());
    });
  }
  context.pool.finish();
  std::memcpy(out.raw(), host, bytes);
}

void awaitElements(Context& context, const Tensor& x) {
  if (!context.onCuda()) context.pool.finish(x.storage->readyAfter);
}

void clear(Context& context, const Tensor& x, const char* op) {
  const size_t bytes = static_cast<size_t>(x.numel()) * itemSize(x.dtype);
  if (bytes == 0) return;
  if (context.onCuda()) return context.stream.queue->clear(x.raw(), bytes, op);
  parallelForLater(context.pool, static_cast<int64_t>(bytes), kCopyGrain, [to = x.data<char>()](int64_t begin, int64_t end) {
    std::memset(to + begin, 0, static_cast<size_t>(end - begin));
  });
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
