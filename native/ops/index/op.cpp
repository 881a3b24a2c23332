#include "op.h"

#include <algorithm>
#include <cstring>

#include "../../core/cuda/copy.h"
#include "../../core/views.h"
#include "../elementwise/op.h"
#include "cuda.h"

namespace md::index {
namespace {

constexpr int64_t kElementGrain = 1 << 14;  // elements below which a second thread costs more than it brings

// Contiguous i64 indices, all in [0, limit).
Tensor requireIndex(Context& context, const Tensor& index, int64_t limit, const char* op) {
  if (index.dtype != DType::i32 && index.dtype != DType::i64) {
    fail(ErrorKind::dtype, op, "index has dtype ", dtypeName(index.dtype), ", expected i32 or i64");
  }
  const Tensor packed = contiguous(context, index, op);
  if (context.onCuda()) {
    if (limit == 0 && packed.numel() > 0) fail(ErrorKind::value, op, "index of shape ", index.shape.str(), " has elements, but there is nothing to take");
    return checkedIndexCuda(context, elementwise::cast(context, packed, DType::i64, op), limit, op);
  }
  awaitElements(context, packed);
  const int64_t bad = MD_CALL(findOutside)(packed.dtype, packed.raw(), packed.numel(), limit);
  if (bad >= 0) {
    const int64_t found = packed.dtype == DType::i32 ? packed.data<int32_t>()[bad] : packed.data<int64_t>()[bad];
    fail(ErrorKind::value, op, "index of shape ", index.shape.str(), " has element ", bad, " = ", found, ", expected 0 to ", limit - 1);
  }
  return elementwise::cast(context, packed, DType::i64, op);
}

void requireNumbers(const Tensor& x, const char* op, const char* operand) {
  if (x.dtype == DType::boolean) fail(ErrorKind::dtype, op, operand, " has dtype bool, expected a number");
}

int64_t grainOf(int64_t rowElements) { return kElementGrain / std::max<int64_t>(1, rowElements) + 1; }

// `rows` blocks of `bytes`, each at its own pitch.
void copyBlocks(Context& context, const char* from, int64_t fromPitch, char* to, int64_t toPitch, int64_t bytes, int64_t rows) {
  if (rows == 1) {
    parallelForLater(context.pool, bytes, kElementGrain * 8, [=](int64_t begin, int64_t end) {
      std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin));
    });
    return;
  }
  parallelForLater(context.pool, rows, grainOf(bytes / 4), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) std::memcpy(to + row * toPitch, from + row * fromPitch, static_cast<size_t>(bytes));
  });
}

Tensor copyOf(Context& context, const Tensor& x, const char* op) {
  Tensor out = empty(context, x.dtype, x.shape, op);
  copyInto(context, x, out.raw(), op);
  return out;
}

Tensor zerosOf(Context& context, DType dtype, const Dims& shape, const char* op) {
  Tensor out = empty(context, dtype, shape, op);
  clear(context, out, op);
  return out;
}

// out[…, index[i], …] += source[…, i, …]: parts own outer indices, or target rows where there are too few of those.
void addInto(Context& context, const Tensor& out, const Tensor& index, const Tensor& given, int axis, const char* op) {
  const AxisSplit split = splitAt(out.shape, axis);
  const Tensor source = contiguous(context, given, op);
  const int64_t count = index.numel();
  if (source.numel() == 0) return;
  if (context.onCuda()) return addCuda(context, split, index, source, out, op);
  const auto [dtype, from, at, to] = std::tuple{out.dtype, source.raw(), index.data<int64_t>(), out.raw()};
  if (split.outer >= context.pool.threads()) {
    parallelForLater(context.pool, split.outer, grainOf(count * split.inner), [=](int64_t begin, int64_t end) {
      MD_CALL(addRows)(dtype, from, at, count, split, begin, end, 0, 1, to);
    });
    return;
  }
  const int64_t parts = std::clamp<int64_t>(source.numel() / kElementGrain, 1, context.pool.threads());
  shareOutLater(context.pool, parts, [=](int64_t part, int64_t) { MD_CALL(addRows)(dtype, from, at, count, split, 0, split.outer, part, parts, to); });
}

void requireIndexShape(const Tensor& index, const Dims& shape, int axis, const char* op) {
  bool fits = index.rank() == shape.rank;
  for (int i = 0; i < shape.rank && fits; i++) fits = i == axis || index.shape[i] <= shape[i];
  if (!fits) fail(ErrorKind::shape, op, "index has shape ", index.shape.str(), ", expected at most ", shape.str(), " but for axis ", axis);
}

IndexLoop loopOf(const Tensor& data, const Tensor& index, const Tensor& value, int axis) {
  IndexLoop loop{};
  loop.rank = index.rank();
  loop.along = data.stride[axis];
  for (int i = 0; i < loop.rank; i++) {
    loop.extent[i] = index.shape[i];
    loop.data[i] = i == axis ? 0 : data.stride[i];
    loop.index[i] = index.stride[i];
    loop.value[i] = value.stride[i];
  }
  return loop;
}

// body(loop, data, index, value) in parallel over parts that never share an element of data: cut along the longest axis
// of the index other than the indexed one (or any, where data is only read).
template <class Body>
void eachPart(Context& context, const Tensor& data, const Tensor& index, const Tensor& value, int axis, bool reading, Body body) {
  if (index.numel() == 0) return;
  int cut = -1;
  for (int i = 0; i < index.rank(); i++) {
    if ((reading || i != axis) && (cut < 0 || index.shape[i] > index.shape[cut])) cut = i;
  }
  const IndexLoop whole = loopOf(data, index, value, axis);
  const auto size = static_cast<int64_t>(itemSize(data.dtype));
  char *const dataAt = data.data<char>(), *const valueAt = value.data<char>();
  const int64_t* const at = index.data<int64_t>();
  if (cut < 0) {
    shareOutLater(context.pool, 1, [=](int64_t, int64_t) { body(whole, dataAt, at, valueAt); });
    return;
  }
  parallelForLater(context.pool, index.shape[cut], grainOf(index.numel() / index.shape[cut]), [=](int64_t begin, int64_t end) {
    IndexLoop loop = whole;
    loop.extent[cut] = end - begin;
    body(loop, dataAt + begin * loop.data[cut] * size, at + begin * loop.index[cut], valueAt + begin * loop.value[cut] * size);
  });
}

void scatterInto(Context& context, const Tensor& out, const Tensor& index, const Tensor& source, int axis, const char* op) {
  if (context.onCuda()) return scatterAddCuda(context, loopOf(out, index, source, axis), axis, index, source, out, op);
  eachPart(context, out, index, source, axis, false, [dtype = out.dtype](const IndexLoop& loop, void* data, const int64_t* at, const void* value) {
    MD_CALL(scatterAddLoop)(dtype, loop, data, at, value);
  });
}

// The axes of x, those that lie furthest apart in memory first.
Dims memoryOrder(const Tensor& x) {
  Dims order;
  for (int axis = 0; axis < x.rank(); axis++) {
    int place = order.rank;
    order.push(axis);
    for (; place > 0 && x.stride[static_cast<int>(order[place - 1])] < x.stride[axis]; place--) std::swap(order[place], order[place - 1]);
  }
  return order;
}

}  // namespace

Tensor cat(Context& context, std::span<const Tensor> parts, int64_t givenAxis, const char* op) {
  if (parts.empty()) fail(ErrorKind::value, op, "found no tensors, expected at least one");
  const Tensor& first = parts[0];
  const int axis = resolveAxis(givenAxis, first.rank(), op);
  Dims shape = first.shape;
  shape[axis] = 0;
  for (const Tensor& part : parts) {
    requireDType(part, first.dtype, op, "a tensor");
    bool fits = part.rank() == first.rank();
    for (int i = 0; i < first.rank() && fits; i++) fits = i == axis || part.shape[i] == first.shape[i];
    if (!fits) {
      fail(ErrorKind::shape, op, "a tensor has shape ", part.shape.str(), ", expected ", first.shape.str(), " but for axis ", axis);
    }
    shape[axis] += part.shape[axis];
  }
  // In the memory order of the largest part, so that permuted views are copied once.
  const Tensor& largest = *std::ranges::max_element(parts, {}, [](const Tensor& part) { return part.numel(); });
  const Dims order = memoryOrder(largest);
  Dims ordered, places = order;
  for (int i = 0; i < order.rank; i++) {
    ordered.push(shape[static_cast<int>(order[i])]);
    places[static_cast<int>(order[i])] = i;
  }
  Tensor out = empty(context, first.dtype, ordered, op);
  const int place = static_cast<int>(places[axis]);
  if (context.onCuda()) {
    Tensor slot = out;
    for (const Tensor& part : parts) {
      slot.shape[place] = part.shape[axis];
      const Tensor x = contiguous(context, permuteView(part, order, op), op);
      cuda::scatterStrided(context, x.raw(), slot, op);
      slot.offset += part.shape[axis] * slot.stride[place];
    }
    return permuteView(out, places, op);
  }
  const AxisSplit split = splitAt(ordered, place);
  const int64_t unit = split.inner * static_cast<int64_t>(itemSize(first.dtype));
  char* to = static_cast<char*>(out.raw());
  for (const Tensor& part : parts) {
    const Tensor x = contiguous(context, permuteView(part, order, op), op);
    const int64_t bytes = part.shape[axis] * unit;
    copyBlocks(context, static_cast<const char*>(x.raw()), bytes, to, split.extent * unit, bytes, split.outer);
    to += bytes;
  }
  return permuteView(out, places, op);
}

Tensor indexSelect(Context& context, const Tensor& given, const Tensor& givenIndex, int64_t givenAxis, const char* op) {
  const int axis = resolveAxis(givenAxis, given.rank(), op);
  requireRank(givenIndex, 1, op, "index");
  const Tensor index = requireIndex(context, givenIndex, given.shape[axis], op), x = contiguous(context, given, op);
  Dims shape = x.shape;
  shape[axis] = index.numel();
  Tensor out = empty(context, x.dtype, shape, op);
  const AxisSplit split = splitAt(x.shape, axis);
  if (context.onCuda()) {
    selectCuda(context, split, x, index, out, op);
    return out;
  }
  parallelForLater(context.pool, split.outer * index.numel(), grainOf(split.inner),
                   [split, size = itemSize(x.dtype), x = x.raw(), at = index.data<int64_t>(), count = index.numel(), to = out.raw()](int64_t begin, int64_t end) {
                     MD_CALL(selectRows)(size, x, at, count, split, begin, end, to);
                   });
  return out;
}

Tensor indexAdd(Context& context, const Tensor& x, const Tensor& givenIndex, const Tensor& source, int64_t givenAxis, const char* op) {
  const int axis = resolveAxis(givenAxis, x.rank(), op);
  requireNumbers(x, op, "x");
  requireDType(source, x.dtype, op, "source");
  requireRank(givenIndex, 1, op, "index");
  Dims expected = x.shape;
  expected[axis] = givenIndex.dim(0);
  requireShape(source, expected, op, "source");
  const Tensor index = requireIndex(context, givenIndex, x.shape[axis], op);
  Tensor out = copyOf(context, x, op);
  addInto(context, out, index, source, axis, op);
  return out;
}

Tensor indexSelectGrad(Context& context, const Tensor& grad, const Tensor& givenIndex, int64_t extent, int64_t givenAxis, const char* op) {
  const int axis = resolveAxis(givenAxis, grad.rank(), op);
  requireFloat(grad, op, "grad");
  requireShape(givenIndex, {grad.shape[axis]}, op, "index");
  const Tensor index = requireIndex(context, givenIndex, extent, op);
  Dims shape = grad.shape;
  shape[axis] = extent;
  Tensor out = zerosOf(context, grad.dtype, shape, op);
  addInto(context, out, index, grad, axis, op);
  return out;
}

Tensor gather(Context& context, const Tensor& x, const Tensor& givenIndex, int64_t givenAxis, const char* op) {
  const int axis = resolveAxis(givenAxis, x.rank(), op);
  requireIndexShape(givenIndex, x.shape, axis, op);
  const Tensor index = requireIndex(context, givenIndex, x.shape[axis], op);
  Tensor out = empty(context, x.dtype, index.shape, op);
  if (context.onCuda()) {
    gatherCuda(context, loopOf(x, index, out, axis), x, index, out, op);
    return out;
  }
  eachPart(context, x, index, out, axis, true, [size = itemSize(x.dtype)](const IndexLoop& loop, const void* data, const int64_t* at, void* value) {
    MD_CALL(gatherLoop)(size, loop, data, at, value);
  });
  return out;
}

Tensor scatterAdd(Context& context, const Tensor& x, const Tensor& givenIndex, const Tensor& source, int64_t givenAxis, const char* op) {
  const int axis = resolveAxis(givenAxis, x.rank(), op);
  requireNumbers(x, op, "x");
  requireDType(source, x.dtype, op, "source");
  requireIndexShape(givenIndex, x.shape, axis, op);
  requireShape(source, givenIndex.shape, op, "source");
  const Tensor index = requireIndex(context, givenIndex, x.shape[axis], op);
  Tensor out = copyOf(context, x, op);
  scatterInto(context, out, index, source, axis, op);
  return out;
}

Tensor gatherGrad(Context& context, const Tensor& grad, const Tensor& givenIndex, const Dims& shape, int64_t givenAxis, const char* op) {
  const int axis = resolveAxis(givenAxis, shape.rank, op);
  requireFloat(grad, op, "grad");
  requireIndexShape(givenIndex, shape, axis, op);
  requireShape(grad, givenIndex.shape, op, "grad");
  const Tensor index = requireIndex(context, givenIndex, shape[axis], op);
  Tensor out = zerosOf(context, grad.dtype, shape, op);
  scatterInto(context, out, index, grad, axis, op);
  return out;
}

Tensor oneHot(Context& context, const Tensor& givenIndex, int64_t classes, DType dtype, const char* op) {
  if (classes < 0) fail(ErrorKind::value, op, "classes is ", classes, ", expected 0 or more");
  if (givenIndex.rank() == kMaxRank) fail(ErrorKind::shape, op, "index has shape ", givenIndex.shape.str(), ", expected rank below ", kMaxRank);
  const Tensor index = requireIndex(context, givenIndex, classes, op);
  Dims shape = index.shape;
  shape.push(classes);
  Tensor out = empty(context, dtype, shape, op);
  if (context.onCuda()) {
    oneHotCuda(context, index, classes, out, op);
    return out;
  }
  parallelForLater(context.pool, index.numel(), grainOf(classes), [=, at = index.data<int64_t>(), to = out.raw()](int64_t begin, int64_t end) {
    MD_CALL(setOnes)(dtype, at, begin, end, classes, to);
  });
  return out;
}

}  // namespace md::index
