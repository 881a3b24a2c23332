// Submanifold sparse convolution (Graham, Engelcke & van der Maaten, 2018): a 3D convolution whose output sites are its
// input sites, out[o] = bias + sum over offsets k of W[k] · x[site at offset k of o].
#pragma once
#include "../gathered_gemm/op.h"

namespace md::subm_conv3d {

using gathered_gemm::PairMap;

/// x [V, in], weight [out, size, size, size, in] (offsets along x, y, z), bias [out] or null -> [V, out]. `map` pairs each
/// voxel with its neighbours at the size^3 offsets, x slowest; its own place is the middle one.
Tensor submConv3d(Context& context, const PairMap& map, const Tensor& x, const Tensor& weight, const Tensor* bias, const char* op);

/// Without storage where not wanted.
struct Gradients {
  Tensor x;       // [V, in]. Neighbourhood is mutual: the same pairs, with the offsets mirrored.
  Tensor weight;  // [out, size, size, size, in]
};
/// For grad [V, out]; one of them is wanted, or both.
Gradients submConv3dGrad(Context& context, const PairMap& map, const Tensor& x, const Tensor& weight, const Tensor& grad, bool wantsX, bool wantsWeight,
                         const char* op);

}  // namespace md::subm_conv3d
