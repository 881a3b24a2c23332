#include "../ops/segment/op.h"

#include "families.h"

namespace md::binding {
namespace {

segment::Reduction reductionAt(const Call& call, size_t i) { return call.flag(i) ? segment::Reduction::mean : segment::Reduction::sum; }

/// segmentReduce(mean, x, offsets, order)
void segmentReduce(Call& call) {
  const char* op = call.flag(0) ? "segmentMean" : "segmentSum";  // what the errors call it
  call.emit(segment::reduce(call.context(), reductionAt(call, 0), call.tensor(1), {call.tensor(2), call.optional(3)}, op));
}

/// segmentReduceGrad(mean, grad, chosen, offsets, order, rows)
void segmentReduceGrad(Call& call) {
  call.emit(segment::reduceGrad(call.context(), reductionAt(call, 0), call.tensor(1), call.optional(2), {call.tensor(3), call.optional(4)},
                                call.integer64(5), call.op));
}

/// segmentMax(x, offsets, order): values and the rows they came from
void segmentMax(Call& call) {
  segment::Maximum out = segment::max(call.context(), call.tensor(0), {call.tensor(1), call.optional(2)}, call.op);
  call.emit(std::move(out.values));
  call.emit(std::move(out.rows));
}

}  // namespace

void registerSegment(Napi::Env env, Napi::Object exports, Environment& environment) {
  constexpr Runs all = Runs::everywhere;
  define(env, exports, environment,
         {Entry{"segmentReduce", segmentReduce, all}, Entry{"segmentReduceGrad", segmentReduceGrad, all}, Entry{"segmentMax", segmentMax, all}});
}

}  // namespace md::binding
