// Tensors in and out of JavaScript, between devices, views, and memory statistics.
#include "../core/views.h"
#include "families.h"

namespace md::binding {
namespace {

/// fromBytes(dtype, shape, Uint8Array, device): a contiguous tensor with a copy of the bytes.
void fromBytes(Call& call) {
  call.onDevice(3);
  const DType dtype = call.dtype(0);
  const auto bytes = call.value(2).As<Napi::Uint8Array>();
  Tensor out = empty(call.context(), dtype, call.dims(1), call.op);
  const size_t expected = static_cast<size_t>(out.numel()) * itemSize(dtype);
  if (bytes.ByteLength() != expected) {
    fail(ErrorKind::shape, call.op, "found ", bytes.ByteLength(), " bytes, expected ", expected, " for shape ", out.shape.str(), " of ", dtypeName(dtype));
  }
  copyFromHost(call.context(), bytes.Data(), out, call.op);
  call.emit(std::move(out));
}

/// toBytes(slot, Uint8Array): writes the elements in row-major order.
Napi::Value toBytes(Call& call) {
  const Tensor& x = call.tensor(0);
  auto bytes = call.value(1).As<Napi::Uint8Array>();
  const size_t expected = static_cast<size_t>(x.numel()) * itemSize(x.dtype);
  if (bytes.ByteLength() != expected) fail(ErrorKind::shape, call.op, "found room for ", bytes.ByteLength(), " bytes, expected ", expected);
  copyToHost(call.context(), x, bytes.Data(), call.op);
  return call.napi().Undefined();
}

void emptyTensor(Call& call) {
  call.onDevice(2);
  call.emit(empty(call.context(), call.dtype(0), call.dims(1), call.op));
}

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

/// A copy of x on `device`; x itself may be anywhere.
Tensor copyTo(Call& call, const Tensor& x, Device device) {
  Environment& env = call.environment();
  env.use(x.device, call.op);
  const Tensor packed = contiguous(env.context, x, call.op);
  const size_t bytes = static_cast<size_t>(x.numel()) * itemSize(x.dtype);
  if (x.device == device || x.device.isCpu()) {
    env.use(device, call.op);
    Tensor out = empty(env.context, x.dtype, x.shape, call.op);
    if (x.device == device) {
      copyInto(env.context, packed, out.raw(), call.op);
    } else {
      env.pool.finish();
      copyFromHost(env.context, packed.raw(), out, call.op);
    }
    return out;
  }
  // From a device to the host, or over it to another device.
  env.use({}, call.op);
  Tensor host = empty(env.context, x.dtype, x.shape, call.op);
  if (bytes > 0) {
    env.pool.finish();
    env.use(x.device, call.op);
    env.context.stream.queue->download(packed.raw(), host.raw(), bytes, call.op);
  }
  return device.isCpu() ? host : copyTo(call, host, device);
}

/// toDevice(x, device)
void toDevice(Call& call) {
  const Tensor x = call.anywhere(0);
  call.emit(copyTo(call, x, deviceOf(call.integer(1), call.op)));
}

/// assign(target, source): overwrites a contiguous target of the same shape and dtype; the source may be on another device.
void assign(Call& call) {
  const Tensor& target = call.tensor(0);
  const Tensor& source = call.anywhere(1);
  requireDType(source, target.dtype, call.op, "source");
  requireShape(source, target.shape, call.op, "source");
  if (!target.contiguous()) fail(ErrorKind::unsupported, call.op, "target is a view with gaps, expected a contiguous tensor");
  Tensor from = source.device == target.device ? source : copyTo(call, source, target.device);
  call.environment().use(target.device, call.op);
  if (from.storage == target.storage) from = copyTo(call, from, target.device);  // they may overlap
  copyInto(call.context(), from, target.raw(), call.op);
  call.written(target);
}

Napi::Value isContiguous(Call& call) { return Napi::Boolean::New(call.napi(), call.tensor(0).contiguous()); }

Napi::Value hasNaN(Call& call) {
  const Tensor& x = call.tensor(0);
  bool found = false;
  if (isFloat(x.dtype)) {
    Tensor host = contiguous(call.context(), x, call.op);
    if (!x.device.isCpu()) host = copyTo(call, host, Device{});
    awaitElements(call.context(), host);
    dispatchFloat(x.dtype, call.op, [&](auto tag) {
      const auto* values = host.data<typename decltype(tag)::type>();
      for (int64_t i = 0; i < host.numel(); i++) found |= values[i] != values[i];
    });
  }
  return Napi::Boolean::New(call.napi(), found);
}

/// Tells the garbage collector of bytes that unreachable tensors would give back.
void adjustExternalMemory(Call& call) { Napi::MemoryManagement::AdjustExternalMemory(call.napi(), call.integer64(0)); }

/// The allocator of the device whose code argument `i` is; not that of a graph that is being captured.
Allocator& allocatorOf(Call& call, size_t i) {
  call.onDevice(i);
  DeviceQueue* const queue = call.context().stream.queue;
  return queue ? queue->deviceAllocator() : *call.context().allocator;
}

/// memory(device) => [live tensors, live bytes, peak bytes, cached bytes, limit]; tensors are counted over all devices.
Napi::Value memory(Call& call) {
  const Allocator& allocator = allocatorOf(call, 0);
  const MemoryStats& stats = allocator.stats();
  auto out = Napi::Float64Array::New(call.napi(), 5);
  out[0] = static_cast<double>(call.environment().slots.live());
  out[1] = static_cast<double>(stats.liveBytes);
  out[2] = static_cast<double>(stats.peakBytes);
  out[3] = static_cast<double>(stats.cachedBytes);
  out[4] = static_cast<double>(allocator.limit());
  return out;
}

// These end in a device code, the CPU's where it is absent.
void resetPeakMemory(Call& call) { allocatorOf(call, 0).resetPeak(); }
void emptyCache(Call& call) { allocatorOf(call, 0).flush(); }
void setMemoryLimit(Call& call) {
  Allocator& allocator = allocatorOf(call, 1);
  const double bytes = call.number(0);
  constexpr double kMost = 1LL << 53;
  if (!(bytes >= 0 && bytes <= kMost)) fail(ErrorKind::value, call.op, "found ", bytes, ", expected a number of bytes from 0 to 2^53");
  allocator.setLimit(static_cast<size_t>(bytes));
}

}  // namespace

void registerStorage(Napi::Env env, Napi::Object exports, Environment& environment) {
  constexpr Runs all = Runs::everywhere;
  constexpr Halves bits = Halves::stored;
  define(env, exports, environment,
         {Entry{"fromBytes", fromBytes, all, bits}, Entry{"empty", emptyTensor, all, bits}, Entry{"reshape", reshape, all, bits},
          Entry{"permute", permute, all, bits}, Entry{"expand", expand, all, bits}, Entry{"slice", slice, all, bits},
          Entry{"sliceGrad", sliceGrad, all, bits}, Entry{"split", split, all, bits}, Entry{"contiguous", contiguousCopy, all, bits},
          Entry{"assign", assign, all, bits}, Entry{"toDevice", toDevice, all, bits}, Entry{"resetPeakMemory", resetPeakMemory, all},
          Entry{"emptyCache", emptyCache, all}, Entry{"setMemoryLimit", setMemoryLimit, all},
          Entry{"adjustExternalMemory", adjustExternalMemory, all, bits}});
  define(env, exports, environment,
         {ValueEntry{"toBytes", toBytes, all, bits}, ValueEntry{"free", freeSlot, all, bits}, ValueEntry{"freeSlots", freeSlots, all, bits},
          ValueEntry{"isContiguous", isContiguous, all, bits}, ValueEntry{"hasNaN", hasNaN, all}, ValueEntry{"memory", memory, all}});
}

}  // namespace md::binding
