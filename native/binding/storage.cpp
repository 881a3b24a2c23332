// Tensors in and out of JavaScript, views, and memory statistics.
#include <cstring>

#include "../core/views.h"
#include "families.h"

namespace md::binding {
namespace {

/// fromBytes(dtype, shape, Uint8Array): a contiguous tensor with a copy of the bytes.
void fromBytes(Call& call) {
  const DType dtype = call.dtype(0);
  const auto bytes = call.value(2).As<Napi::Uint8Array>();
  Tensor out = empty(call.context(), dtype, call.dims(1), call.op);
  const size_t expected = static_cast<size_t>(out.numel()) * itemSize(dtype);
  if (bytes.ByteLength() != expected) {
    fail(ErrorKind::shape, call.op, "found ", bytes.ByteLength(), " bytes, expected ", expected, " for shape ", out.shape.str(), " of ", dtypeName(dtype));
  }
  // An empty array has no address.
  if (expected > 0) std::memcpy(out.raw(), bytes.Data(), expected);
  call.emit(std::move(out));
}

/// toBytes(slot, Uint8Array): writes the elements in row-major order.
Napi::Value toBytes(Call& call) {
  const Tensor& x = call.tensor(0);
  auto bytes = call.value(1).As<Napi::Uint8Array>();
  const size_t expected = static_cast<size_t>(x.numel()) * itemSize(x.dtype);
  if (bytes.ByteLength() != expected) fail(ErrorKind::shape, call.op, "found room for ", bytes.ByteLength(), " bytes, expected ", expected);
  copyInto(call.context(), x, bytes.Data());
  return call.napi().Undefined();
}

void emptyTensor(Call& call) { call.emit(empty(call.context(), call.dtype(0), call.dims(1), call.op)); }

/// Frees each slot of an Int32Array.
Napi::Value freeSlots(Call& call) {
  const auto slots = call.value(0).As<Napi::Int32Array>();
  for (size_t i = 0; i < slots.ElementLength(); i++) call.environment().slots.free(slots[i]);
  return call.napi().Undefined();
}

Napi::Value freeSlot(Call& call) {
  call.environment().slots.free(call.integer(0));
  return call.napi().Undefined();
}

void reshape(Call& call) { call.emit(reshapeView(call.context(), call.tensor(0), call.dims(1), call.op)); }
void permute(Call& call) { call.emit(permuteView(call.tensor(0), call.dims(1), call.op)); }
void expand(Call& call) { call.emit(expandView(call.tensor(0), call.dims(1), call.op)); }
void slice(Call& call) { call.emit(sliceView(call.tensor(0), call.dims(1), call.dims(2), call.dims(3), call.op)); }
void sliceGrad(Call& call) {
  call.emit(sliceAdjoint(call.context(), call.tensor(0), call.dims(1), call.dims(2), call.dims(3), call.op));
}
void split(Call& call) {
  const Dims sizes = call.dims(1);
  for (const Tensor& part : splitView(call.tensor(0), sizes, call.integer(2), call.op)) call.emit(part);
}
void contiguousCopy(Call& call) { call.emit(contiguous(call.context(), call.tensor(0), call.op)); }

/// assign(target, source): overwrites a contiguous target of the same shape and dtype.
void assign(Call& call) {
  const Tensor& target = call.tensor(0);
  const Tensor& source = call.tensor(1);
  requireDType(source, target.dtype, call.op, "source");
  requireShape(source, target.shape, call.op, "source");
  if (!target.contiguous()) fail(ErrorKind::unsupported, call.op, "target is a view with gaps, expected a contiguous tensor");
  copyInto(call.context(), source, target.raw());
}

Napi::Value isContiguous(Call& call) { return Napi::Boolean::New(call.napi(), call.tensor(0).contiguous()); }

Napi::Value hasNaN(Call& call) {
  const Tensor x = contiguous(call.context(), call.tensor(0), call.op);
  bool found = false;
  if (isFloat(x.dtype)) {
    dispatchFloat(x.dtype, call.op, [&](auto tag) {
      const auto* values = x.data<typename decltype(tag)::type>();
      for (int64_t i = 0; i < x.numel(); i++) found |= values[i] != values[i];
    });
  }
  return Napi::Boolean::New(call.napi(), found);
}

/// Tells the garbage collector of bytes that unreachable tensors would give back.
void adjustExternalMemory(Call& call) { Napi::MemoryManagement::AdjustExternalMemory(call.napi(), call.integer64(0)); }

/// [live tensors, live bytes, peak bytes, cached bytes, limit]
Napi::Value memory(Call& call) {
  const MemoryStats& stats = call.context().allocator.stats();
  auto out = Napi::Float64Array::New(call.napi(), 5);
  out[0] = static_cast<double>(call.environment().slots.live());
  out[1] = static_cast<double>(stats.liveBytes);
  out[2] = static_cast<double>(stats.peakBytes);
  out[3] = static_cast<double>(stats.cachedBytes);
  out[4] = static_cast<double>(call.context().allocator.limit());
  return out;
}

void resetPeakMemory(Call& call) { call.context().allocator.resetPeak(); }
void emptyCache(Call& call) { call.context().allocator.flush(); }
void setMemoryLimit(Call& call) {
  const double bytes = call.number(0);
  if (!(bytes >= 0)) fail(ErrorKind::value, call.op, "found ", bytes, ", expected a number of bytes");
  call.context().allocator.setLimit(static_cast<size_t>(bytes));
}

}  // namespace

void registerStorage(Napi::Env env, Napi::Object exports, Environment& environment) {
  define(env, exports, environment,
         {Entry{"fromBytes", fromBytes}, Entry{"empty", emptyTensor}, Entry{"reshape", reshape}, Entry{"permute", permute},
          Entry{"expand", expand}, Entry{"slice", slice}, Entry{"sliceGrad", sliceGrad}, Entry{"split", split}, Entry{"contiguous", contiguousCopy}, Entry{"assign", assign},
          Entry{"resetPeakMemory", resetPeakMemory}, Entry{"emptyCache", emptyCache}, Entry{"setMemoryLimit", setMemoryLimit},
          Entry{"adjustExternalMemory", adjustExternalMemory}});
  define(env, exports, environment,
         {ValueEntry{"toBytes", toBytes}, ValueEntry{"free", freeSlot}, ValueEntry{"freeSlots", freeSlots},
          ValueEntry{"isContiguous", isContiguous}, ValueEntry{"hasNaN", hasNaN}, ValueEntry{"memory", memory}});
}

}  // namespace md::binding
