#include "../ops/voxel_hash/op.h"

#include "families.h"

namespace md::binding {
namespace {

voxel_hash::Grid gridAt(const Call& call, size_t first) {
  return {call.number(first), {call.number(first + 1), call.number(first + 2), call.number(first + 3)}};
}

/// voxelHash(points, pointBatch, voxelSize, originX, originY, originZ)
void voxelHash(Call& call) {
  voxel_hash::VoxelHash hash = voxel_hash::build(call.context(), call.tensor(0), call.tensor(1), gridAt(call, 2), call.op);
  call.emit(std::move(hash.keys));
  call.emit(std::move(hash.coordinates));
  call.emit(std::move(hash.voxelOfPoint));
  call.emit(std::move(hash.pointOrder));
  call.emit(std::move(hash.voxelOffsets));
  call.emit(std::move(hash.table));
}

/// voxelLookup(queries, queryBatch, table, voxelSize, originX, originY, originZ)
void voxelLookup(Call& call) {
  call.emit(voxel_hash::lookup(call.context(), call.tensor(0), call.tensor(1), call.tensor(2), gridAt(call, 3), call.op));
}

/// voxelNeighbours(queries, queryBatch, table, voxelSize, originX, originY, originZ)
void voxelNeighbours(Call& call) {
  call.emit(voxel_hash::neighbours(call.context(), call.tensor(0), call.tensor(1), call.tensor(2), gridAt(call, 3), call.op));
}

/// neighboursOfVoxels(keys, table, kernelSize)
void neighboursOfVoxels(Call& call) {
  call.emit(voxel_hash::neighboursOfVoxels(call.context(), call.tensor(0), call.tensor(1), call.integer64(2), call.op));
}

}  // namespace

void registerVoxelHash(Napi::Env env, Napi::Object exports, Environment& environment) {
  constexpr Runs all = Runs::everywhere;
  define(env, exports, environment,
         {Entry{"voxelHash", voxelHash, all}, Entry{"voxelLookup", voxelLookup, all}, Entry{"voxelNeighbours", voxelNeighbours, all},
          Entry{"neighboursOfVoxels", neighboursOfVoxels, all}});
}

}  // namespace md::binding
