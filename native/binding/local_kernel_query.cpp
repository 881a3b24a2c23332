#include "../ops/local_kernel_query/op.h"

#include "families.h"

namespace md::binding {
namespace {

using local_kernel_query::HitMap;

HitMap hitsAt(const Call& call, size_t first) { return {call.tensor(first), call.tensor(first + 1), call.tensor(first + 2)}; }

/// localKernelMap(neighbours, voxels)
void localKernelMap(Call& call) {
  HitMap hits = local_kernel_query::mapHits(call.context(), call.tensor(0), call.integer64(1), call.op);
  call.emit(std::move(hits.queries));
  call.emit(std::move(hits.voxels));
  call.emit(std::move(hits.offsets));
}

/// localKernelQuery(hitQueries, hitVoxels, hitOffsets, queries, means, weight)
void localKernelQuery(Call& call) {
  call.emit(local_kernel_query::query(call.context(), hitsAt(call, 0), call.integer64(3), call.tensor(4), call.tensor(5), call.op));
}

/// localKernelMeansGrad(hitQueries, hitVoxels, hitOffsets, voxels, weight, grad)
void localKernelMeansGrad(Call& call) {
  call.emit(local_kernel_query::queryMeansGrad(call.context(), hitsAt(call, 0), call.integer64(3), call.tensor(4), call.tensor(5), call.op));
}

/// localKernelWeightGrad(hitQueries, hitVoxels, hitOffsets, means, grad)
void localKernelWeightGrad(Call& call) {
  call.emit(local_kernel_query::queryWeightGrad(call.context(), hitsAt(call, 0), call.tensor(3), call.tensor(4), call.op));
}

}  // namespace

void registerLocalKernelQuery(Napi::Env env, Napi::Object exports, Environment& environment) {
  define(env, exports, environment,
         {Entry{"localKernelMap", localKernelMap}, Entry{"localKernelQuery", localKernelQuery},
          Entry{"localKernelMeansGrad", localKernelMeansGrad}, Entry{"localKernelWeightGrad", localKernelWeightGrad}});
}

}  // namespace md::binding
