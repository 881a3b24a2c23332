// Local kernel query (Mini-Diffuser, Eq. 18): out[q] = sum over offsets k of W[k] · mean[voxel at offset k of q]. Empty
// neighbours are never multiplied. No gradient reaches the query positions: they choose voxels, which is piecewise
// constant.
#pragma once
#include "../gathered_gemm/op.h"
#include "../voxel_hash/shared.h"

namespace md::local_kernel_query {

using gathered_gemm::PairMap;

/// Hits of queries [Q, 3] of items [Q] among the V voxels of a hash with this table. ValueError for a query that is not finite.
PairMap mapQueries(Context& context, const Tensor& queries, const Tensor& queryBatch, const Tensor& table, int64_t voxels, const voxel_hash::Grid& grid,
                   const char* op);

/// means [V, in], weight [K, out, in] -> [queries, out]; a query without hits gives 0. Each row is summed in the order
/// of offsets, whatever the other queries are and however many threads run.
Tensor query(Context& context, const PairMap& hits, int64_t queries, const Tensor& means, const Tensor& weight, const char* op);

/// Without storage where not wanted.
struct Gradients {
  Tensor means;   // [V, in]: zero for a voxel that no query touches
  Tensor weight;  // [K, out, in]: zero for an offset without hits
};
/// For grad [Q, out]; one of them is wanted, or both.
Gradients queryGrad(Context& context, const PairMap& hits, const Tensor& means, const Tensor& weight, const Tensor& grad, bool wantsMeans, bool wantsWeight,
                    const char* op);

}  // namespace md::local_kernel_query
