#include "../ops/local_kernel_query/op.h"

#include "families.h"

namespace md::binding {
namespace {

/// Hits lead from voxels to queries.
local_kernel_query::PairMap hitsAt(const Call& call, size_t first) { return {call.tensor(first), call.tensor(first + 1), call.tensor(first + 2)}; }

/// localKernelMap(queries, queryBatch, table, voxels, voxelSize, originX, originY, originZ)
void localKernelMap(Call& call) {
  const voxel_hash::Grid grid{call.number(4), {call.number(5), call.number(6), call.number(7)}};
  local_kernel_query::PairMap hits =
      local_kernel_query::mapQueries(call.context(), call.tensor(0), call.tensor(1), call.tensor(2), call.integer64(3), grid, call.op);
  call.emit(std::move(hits.inputs));
  call.emit(std::move(hits.outputs));
  call.emit(std::move(hits.starts));
}

/// localKernelQuery(hitVoxels, hitQueries, hitStarts, queries, means, weight)
void localKernelQuery(Call& call) {
  call.emit(local_kernel_query::query(call.context(), hitsAt(call, 0), call.integer64(3), call.tensor(4), call.tensor(5), call.op));
}

/// localKernelQueryGrad(hitVoxels, hitQueries, hitStarts, means, weight, grad, wantsMeans, wantsWeight): the wanted gradients.
void localKernelQueryGrad(Call& call) {
  local_kernel_query::Gradients out =
      local_kernel_query::queryGrad(call.context(), hitsAt(call, 0), call.tensor(3), call.tensor(4), call.tensor(5), call.flag(6), call.flag(7), call.op);
  for (Tensor* gradient : {&out.means, &out.weight}) {
    if (gradient->storage) call.emit(std::move(*gradient));
  }
}

}  // namespace

void registerLocalKernelQuery(Napi::Env env, Napi::Object exports, Environment& environment) {
  constexpr Runs all = Runs::everywhere;
  constexpr Halves kernels = Halves::storedOnCuda;
  define(env, exports, environment,
         {Entry{"localKernelMap", localKernelMap, all}, Entry{"localKernelQuery", localKernelQuery, all, kernels},
          Entry{"localKernelQueryGrad", localKernelQueryGrad, all, kernels}});
}

}  // namespace md::binding
