#include "../ops/masked_attention/op.h"

#include "families.h"

namespace md::binding {
namespace {

using masked_attention::Mask;
using masked_attention::MaskKind;

/// Int32Array arguments stay alive, and so their elements, until the call returns.
std::span<const int32_t> integers(const Call& call, size_t i) {
  const auto array = call.value(i).As<Napi::Int32Array>();
  return {array.Data(), array.ElementLength()};
}

uint64_t natural(const Call& call, size_t i) { return static_cast<uint64_t>(call.integer64(i)); }

/// Seven arguments from `i` on: kind, samples, tokensPerSample, conditionTokens, conditionLengths or cuSeqlensQ,
/// cuSeqlensK, slot of the dense mask.
Mask maskAt(const Call& call, size_t i) {
  const int32_t kind = call.integer(i);
  if (kind < 0 || kind >= static_cast<int32_t>(MaskKind::count)) fail(ErrorKind::value, call.op, "unknown mask kind ", kind);
  Mask mask;
  mask.kind = static_cast<MaskKind>(kind);
  mask.samples = call.integer64(i + 1);
  mask.tokensPerSample = call.integer64(i + 2);
  mask.conditionTokens = call.integer64(i + 3);
  (mask.kind == MaskKind::varlen ? mask.cuSeqlensQ : mask.conditionLengths) = integers(call, i + 4);
  mask.cuSeqlensK = integers(call, i + 5);
  mask.dense = call.optional(i + 6);
  if (mask.kind == MaskKind::dense && !mask.dense) fail(ErrorKind::value, call.op, "mask kind dense came without a mask");
  return mask;
}

/// Twelve arguments from `i` on: scale, slots of the norm's weight and bias and of the rotary table for q and for k, eps,
/// rotateFirst, and of dropout p, seed, offset.
masked_attention::Options optionsAt(Call& call, size_t i) {
  if (call.environment().capturing && call.number(i + 9) > 0) {
    fail(ErrorKind::unsupported, call.op, "draws dropout while a graph is captured, and replays would repeat it: expected dropout of 0");
  }
  const auto side = [&](size_t at) { return masked_attention::RowPreparation{call.optionalWide(at), call.optionalWide(at + 1), call.optionalWide(at + 2)}; };
  return {call.number(i), side(i + 1),         side(i + 4), call.number(i + 7), call.flag(i + 8), call.number(i + 9),
          {natural(call, i + 10), natural(call, i + 11)}};
}

/// Slots of the own keys and values, both or none.
std::optional<masked_attention::Keys> ownAt(const Call& call, size_t i) {
  if (!call.optional(i)) return {};
  return masked_attention::Keys{call.tensor(i), call.tensor(i + 1)};
}

/// maskedAttention(q, k, v, ownK, ownV, save, …mask, …options): out and, to save, logSumExp
void maskedAttention(Call& call) {
  const auto own = ownAt(call, 3);
  auto options = optionsAt(call, 13);
  if (own) options.own = &*own;
  auto result = masked_attention::forward(call.context(), call.tensor(0), call.tensor(1), call.tensor(2), maskAt(call, 6), options, call.op);
  call.emit(std::move(result.out));
  if (call.flag(5)) call.emitWide(std::move(result.logSumExp));
}

/// maskedAttentionGrad(q, k, v, ownK, ownV, out, logSumExp, grad, …mask, …options): gradients of q, k, v, and of the own keys and
/// values and the norms' weights and biases as far as they are there.
void maskedAttentionGrad(Call& call) {
  const auto own = ownAt(call, 3);
  auto options = optionsAt(call, 15);
  if (own) options.own = &*own;
  auto result = masked_attention::backward(call.context(), call.tensor(0), call.tensor(1), call.tensor(2), {call.tensor(5), call.wide(6)},
                                           call.tensor(7), maskAt(call, 8), options, call.op);
  call.emit(std::move(result.q));
  call.emit(std::move(result.k));
  call.emit(std::move(result.v));
  for (Tensor* part : {&result.own.k, &result.own.v}) {
    if (part->storage) call.emit(std::move(*part));
  }
  for (Tensor* affine : {&result.qWeight, &result.qBias, &result.kWeight, &result.kBias}) {
    if (affine->storage) call.emitWide(std::move(*affine));
  }
}

}  // namespace

void registerAttention(Napi::Env env, Napi::Object exports, Environment& environment) {
  define(env, exports, environment,
         {Entry{"maskedAttention", maskedAttention, Runs::everywhere, Halves::storedOnCuda},
          Entry{"maskedAttentionGrad", maskedAttentionGrad, Runs::everywhere, Halves::storedOnCuda}});
}

}  // namespace md::binding
