#include "call.h"

#include <algorithm>

#include "../isa/isa.h"
#include "../ops/elementwise/op.h"

namespace md::binding {
namespace {

template <class EntryType>
struct Bound {
  EntryType entry;
  Environment* environment;
};

Napi::Value throwTyped(const Napi::CallbackInfo& info, Environment& env, int kind, const char* message) {
  const Napi::Value error = env.makeError.Call({Napi::Number::New(info.Env(), kind), Napi::String::New(info.Env(), message)});
  napi_throw(info.Env(), error);
  return info.Env().Undefined();
}

// The border: no C++ exception passes it, each becomes one of the package's own classes.
template <class F>
Napi::Value guarded(const Napi::CallbackInfo& info, Environment& env, const char* name, F&& body) {
  try {
    return body();
  } catch (const Error& error) {
    return throwTyped(info, env, static_cast<int>(error.kind()), error.what());
  } catch (const std::bad_alloc&) {
    const std::string message = std::string("[") + name + "] the system refused memory";
    return throwTyped(info, env, static_cast<int>(ErrorKind::outOfMemory), message.c_str());
  }
}

Napi::Value callBody(const Napi::CallbackInfo& info) {
  auto& bound = *static_cast<Bound<Entry>*>(info.Data());
  return guarded(info, *bound.environment, bound.entry.name, [&]() -> Napi::Value {
    activeIsa();  // throws for a bad MD_ISA: here, not in a worker
    Call call(info, *bound.environment, bound.entry);
    bound.entry.body(call);
    return info.Env().Undefined();
  });
}

Napi::Value callValueBody(const Napi::CallbackInfo& info) {
  auto& bound = *static_cast<Bound<ValueEntry>*>(info.Data());
  return guarded(info, *bound.environment, bound.entry.name, [&] {
    Call call(info, *bound.environment, bound.entry);
    return bound.entry.body(call);
  });
}

template <class EntryType>
void defineAll(Napi::Env env, Napi::Object exports, Environment& environment, std::initializer_list<EntryType> entries,
               Napi::Value (*trampoline)(const Napi::CallbackInfo&)) {
  for (const EntryType& entry : entries) {
    auto bound = std::make_unique<Bound<EntryType>>(Bound<EntryType>{entry, &environment});
    exports.Set(entry.name, Napi::Function::New(env, trampoline, entry.name, bound.get()));
    env.AddCleanupHook([](Bound<EntryType>* owned) { std::unique_ptr<Bound<EntryType>>{owned}; }, bound.release());
  }
}

}  // namespace

void Environment::use(Device device, const char* op) {
  context.stream.device = device;
  if (device.isCpu()) {
    context.allocator = &allocator;
    context.stream.queue = nullptr;
    return;
  }
  std::unique_ptr<DeviceQueue>& queue = queues[device.index];
  if (!queue) queue.reset(openQueue(device, op));
  context.allocator = &queue->allocator();
  context.stream.queue = queue.get();
}

void Call::bind(Device device) const {
  if (bound_) {
    fail(ErrorKind::device, op, "operands are on ", env_.context.stream.device.str(), " and ", device.str(), ", expected one device");
  }
  if (!device.isCpu() && runs_ == Runs::onCpu) {
    fail(ErrorKind::device, op, "has no CUDA kernel: found an operand on ", device.str(), ", expected cpu");
  }
  env_.use(device, op);
  bound_ = true;
}

Device deviceOf(int32_t code, const char* op) {
  const Device device{static_cast<DeviceType>(code & 0xFF), code >> 8};
  if (device.type != DeviceType::cpu && device.type != DeviceType::cuda) fail(ErrorKind::value, op, "unknown device code ", code);
  return device;
}

void Call::onDevice(size_t i) {
  if (i < info_.Length() && !info_[i].IsUndefined()) bind(deviceOf(integer(i), op));
}

Dims Call::dims(size_t i) const {
  const auto array = info_[i].As<Napi::Int32Array>();
  if (array.ElementLength() > static_cast<size_t>(kMaxRank)) {
    fail(ErrorKind::shape, op, "rank ", array.ElementLength(), " is more than the ", kMaxRank, " axes a tensor may have");
  }
  Dims dims;
  for (size_t axis = 0; axis < array.ElementLength(); axis++) dims.push(array[axis]);
  return dims;
}

DType Call::dtype(size_t i) const {
  const int32_t code = integer(i);
  if (code < 0 || code >= static_cast<int32_t>(DType::count)) fail(ErrorKind::dtype, op, "unknown dtype code ", code);
  const auto dtype = static_cast<DType>(code);
  return widens() && noteFloat(dtype) ? DType::f32 : dtype;
}

bool Call::noteFloat(DType dtype) const {
  if (!isFloat(dtype) && !isHalf(dtype)) return false;
  if (!float_) float_ = dtype;
  // f32 beside f64 is the op's own to refuse: it knows the operand's name.
  if (*float_ != dtype && (isHalf(dtype) || isHalf(*float_))) {
    // Operands come in the order in which the compiler evaluates arguments; the message does not.
    fail(ErrorKind::dtype, op, "operands have dtypes ", dtypeName(std::min(*float_, dtype)), " and ", dtypeName(std::max(*float_, dtype)), ", expected one");
  }
  return isHalf(dtype);
}

const Tensor& Call::admit(int32_t slot, const Tensor& x) const {
  if (!widens() || !noteFloat(x.dtype)) return x;
  const auto found = widened_.find(slot);
  if (found != widened_.end()) return found->second;
  return widened_.emplace(slot, elementwise::cast(env_.context, x, DType::f32, op)).first->second;
}

void Call::retain(const Tensor& x) const {
  if (x.device.isCpu() || &x.storage->allocator() == &env_.queues.at(x.device.index)->allocator()) return;
  env_.capturing->operands.insert(x.storage);
}

void Call::emit(Tensor out) {
  const bool narrow = widens() && float_ && isHalf(*float_) && out.dtype == DType::f32;
  emitWide(narrow ? elementwise::cast(env_.context, out, *float_, op) : std::move(out));
}

void Call::emitWide(Tensor out) {
  int32_t* description = env_.outputs + outputs_++ * kOutputStride;
  description[1] = static_cast<int32_t>(out.dtype);
  description[2] = out.device.code();
  description[3] = out.rank();
  for (int axis = 0; axis < out.rank(); axis++) {
    if (out.shape[axis] > INT32_MAX) fail(ErrorKind::shape, op, "shape ", out.shape.str(), " has an extent beyond 2^31");
    description[4 + axis] = static_cast<int32_t>(out.shape[axis]);
  }
  if (out.storage->readyAfter == Storage::kAllQueued) written(out);
  description[0] = env_.slots.add(std::move(out));
}

void define(Napi::Env env, Napi::Object exports, Environment& environment, std::initializer_list<Entry> entries) {
  defineAll(env, exports, environment, entries, callBody);
}

void define(Napi::Env env, Napi::Object exports, Environment& environment, std::initializer_list<ValueEntry> entries) {
  defineAll(env, exports, environment, entries, callValueBody);
}

}  // namespace md::binding
