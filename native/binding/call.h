// What every binding file needs: state of the environment, typed arguments, outputs, and the error border.
#pragma once
#include <napi.h>

#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>

#include "../core/context.h"
#include "../core/slots.h"

namespace md::binding {

/// A captured graph, and what its kernels read or write that is not the graph's own memory.
struct Graph {
  std::unique_ptr<DeviceGraph> work;
  std::unordered_set<std::shared_ptr<Storage>> operands;
};

/// One per Node environment (main thread or worker), deleted when the environment ends.
struct Environment {
  explicit Environment(int threads) : pool(threads), context(allocator, pool) {}
  /// Points `context` at a device; its queue is opened with the first use.
  void use(Device device, const char* op);

  Allocator allocator;  // before the slots, whose storage returns its blocks to it; so are the queues
  std::map<int32_t, std::unique_ptr<DeviceQueue>> queues;  // by device index
  ThreadPool pool;
  Context context;  // of the call that is running
  SlotTable slots;
  std::map<int32_t, Graph> graphs;   // by the number that JavaScript knows
  std::unique_ptr<Graph> capturing;  // the one that is being captured
  int32_t lastGraph = 0;
  int32_t* outputs = nullptr;  // descriptions of the last call's outputs, shared with JavaScript
  Napi::Reference<Napi::Int32Array> outputsArray;
  Napi::FunctionReference makeError;  // (kind, message) => Error, from errors.js
};

constexpr int kOutputStride = 4 + kMaxRank;  // slot, dtype, device, rank, extents
constexpr int kMaxOutputs = 8;

/// The device that an integer from JavaScript stands for (Device::code).
Device deviceOf(int32_t code, const char* op);

/// Where an op has kernels.
enum class Runs { onCpu, everywhere };

/// What an op sees of f16 and bf16 operands: f32 in their place, or themselves where it has kernels for them or only moves
/// elements.
enum class Halves { widened, storedOnCuda, stored };

/// Arguments of one call, with the op's name for the errors. The call runs on the device of its operands, or on the one
/// that onDevice() names; operands on two devices, or on one for which the op has no kernel, are a DeviceError.
///
/// This is the one door for f16 and bf16: where they are widened, operands become f32 here, and the f32 outputs of such a
/// call that dtype. The floats among its operands then have one dtype; DTypeError otherwise.
class Call {
 public:
  template <class EntryType>
  Call(const Napi::CallbackInfo& info, Environment& env, const EntryType& entry)
      : info_(info), env_(env), runs_(entry.runs), halves_(entry.halves), op(entry.name) {
    env_.context.allocator = &env_.allocator;
    env_.context.stream = Stream{};
  }

  Context& context() { return env_.context; }
  Environment& environment() { return env_; }
  Napi::Env napi() const { return info_.Env(); }
  const Tensor& tensor(size_t i) const { return operand(integer(i)); }
  /// A slot of -1 stands for "none".
  const Tensor* optional(size_t i) const {
    const int32_t slot = integer(i);
    return slot < 0 ? nullptr : &operand(slot);
  }
  const Tensor& operand(int32_t slot) const {
    const Tensor& x = stored(slot);
    return halves_ == Halves::stored ? x : admit(slot, x);
  }
  /// Statistics and tables, which are f32 beside f16 and bf16 operands: never widened, nor compared with these.
  const Tensor& wide(size_t i) const { return stored(integer(i)); }
  /// An operand of any device, whatever the others' is.
  const Tensor& anywhere(size_t i) const {
    const Tensor& x = env_.slots.at(integer(i), op);
    if (env_.capturing) retain(x);
    return x;
  }
  const Tensor* optionalWide(size_t i) const {
    const int32_t slot = integer(i);
    return slot < 0 ? nullptr : &stored(slot);
  }
  /// For a call without operands: argument `i` is a device code, the CPU where it is absent.
  void onDevice(size_t i);
  int32_t integer(size_t i) const { return info_[i].As<Napi::Number>().Int32Value(); }
  int64_t integer64(size_t i) const { return info_[i].As<Napi::Number>().Int64Value(); }
  double number(size_t i) const { return info_[i].As<Napi::Number>().DoubleValue(); }
  bool flag(size_t i) const { return info_[i].ToBoolean().Value(); }
  Napi::Value value(size_t i) const { return info_[i]; }
  /// An Int32Array of at most kMaxRank extents.
  Dims dims(size_t i) const;
  /// One that the output shall have; f32 in place of one that is widened.
  DType dtype(size_t i) const;

  /// Registers `out` as the call's next output; JavaScript reads its slot, dtype and shape from the outputs array.
  void emit(Tensor out);
  /// As emit; statistics stay f32 beside f16 and bf16.
  void emitWide(Tensor out);
  /// Notes that the call has written elements of an operand.
  void written(const Tensor& x) { x.storage->readyAfter = env_.pool.queued(); }

 private:
  void bind(Device device) const;
  const Tensor& stored(int32_t slot) const {
    const Tensor& x = env_.slots.at(slot, op);
    if (!bound_ || !(x.device == env_.context.stream.device)) bind(x.device);
    if (env_.capturing) retain(x);
    return x;
  }
  /// Keeps an operand of a graph alive; not the graph's own memory, which may serve one tensor after another.
  void retain(const Tensor& x) const;
  bool widens() const { return halves_ == Halves::widened || (halves_ == Halves::storedOnCuda && !env_.context.onCuda()); }
  /// Notes the dtype of a float that takes part; true where it is to be widened.
  bool noteFloat(DType dtype) const;
  const Tensor& admit(int32_t slot, const Tensor& x) const;

  const Napi::CallbackInfo& info_;
  Environment& env_;
  const Runs runs_;
  const Halves halves_;
  mutable bool bound_ = false;
  mutable std::optional<DType> float_;         // of the operands
  mutable std::map<int32_t, Tensor> widened_;  // by slot
  int outputs_ = 0;

 public:
  const char* const op;
};

using Body = void (*)(Call&);
using ValueBody = Napi::Value (*)(Call&);

/// A function of the addon: `name` is the op's name on every floor. Its outputs go through Call::emit.
struct Entry {
  const char* name;
  Body body;
  Runs runs = Runs::onCpu;
  Halves halves = Halves::widened;
};
/// One that returns a JavaScript value instead.
struct ValueEntry {
  const char* name;
  ValueBody body;
  Runs runs = Runs::onCpu;
  Halves halves = Halves::widened;
};

void define(Napi::Env env, Napi::Object exports, Environment& environment, std::initializer_list<Entry> entries);
void define(Napi::Env env, Napi::Object exports, Environment& environment, std::initializer_list<ValueEntry> entries);

/// Every binding file adds its functions here: declared below, called by addon.cpp.
using Register = void (*)(Napi::Env, Napi::Object, Environment&);

}  // namespace md::binding
