#include "../ops/random/op.h"

#include "families.h"

namespace md::binding {
namespace {

constexpr double kMostSafe = 9007199254740991.0;  // 2^53 - 1: the integers a JavaScript number holds exactly

uint64_t natural(const Call& call, size_t i, const char* name) {
  const double value = call.number(i);
  if (!(value >= 0 && value <= kMostSafe && value == static_cast<double>(static_cast<uint64_t>(value)))) {
    fail(ErrorKind::value, call.op, name, " is ", value, ", expected an integer from 0 to 2^53 - 1");
  }
  return static_cast<uint64_t>(value);
}

int64_t bound(const Call& call, size_t i, const char* name) {
  const double value = call.number(i);
  if (!(value >= -kMostSafe && value <= kMostSafe && value == static_cast<double>(static_cast<int64_t>(value)))) {
    fail(ErrorKind::value, call.op, name, " is ", value, ", expected an integer of at most 2^53 - 1");
  }
  return static_cast<int64_t>(value);
}

/// The last two arguments of every function but the device: seed and counter.
random::Stream streamAt(Call& call, size_t i) {
  if (call.environment().capturing && !call.context().onCuda()) {
    fail(ErrorKind::unsupported, call.op, "draws random numbers on the cpu while a graph is captured, and replays would repeat them: expected a draw on the graph's device, or before the capture");
  }
  return {natural(call, i, "seed"), natural(call, i + 1, "offset")};
}

/// rand(dtype, shape, low, high, seed, offset, device)
void rand(Call& call) {
  call.onDevice(6);
  call.emit(random::uniform(call.context(), call.dtype(0), call.dims(1), call.number(2), call.number(3), streamAt(call, 4), call.op));
}
/// randn(dtype, shape, mean, std, seed, offset, device)
void randn(Call& call) {
  call.onDevice(6);
  call.emit(random::normal(call.context(), call.dtype(0), call.dims(1), call.number(2), call.number(3), streamAt(call, 4), call.op));
}
/// randint(shape, low, high, seed, offset, device)
void randint(Call& call) {
  call.onDevice(5);
  call.emit(random::randint(call.context(), call.dims(0), bound(call, 1, "low"), bound(call, 2, "high"), streamAt(call, 3), call.op));
}
/// bernoulli(shape, probability, seed, offset, device)
void bernoulli(Call& call) {
  call.onDevice(4);
  call.emit(random::bernoulli(call.context(), call.dims(0), call.number(1), streamAt(call, 2), call.op));
}
/// dropout(x, p, seed, offset)
void dropout(Call& call) {
  const Tensor& x = call.tensor(0);  // first: it is what brings the call to its device
  call.emit(random::dropout(call.context(), x, call.number(1), streamAt(call, 2), call.op));
}
/// childSeed(seed, index) => seed
Napi::Value childSeed(Call& call) {
  const uint64_t key = random::childKey(natural(call, 0, "seed"), natural(call, 1, "index"));
  return Napi::Number::New(call.napi(), static_cast<double>(key));
}

}  // namespace

void registerRandom(Napi::Env env, Napi::Object exports, Environment& environment) {
  constexpr Runs all = Runs::everywhere;
  define(env, exports, environment,
         {Entry{"rand", rand, all}, Entry{"randn", randn, all}, Entry{"randint", randint, all}, Entry{"bernoulli", bernoulli, all},
          Entry{"dropout", dropout, all}});
  define(env, exports, environment, {ValueEntry{"childSeed", childSeed}});
}

}  // namespace md::binding
