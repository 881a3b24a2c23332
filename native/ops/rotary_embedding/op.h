// 3D rotary embedding (Su et al., "RoFormer", 2021, on three axes): D/3 adjacent channels an axis, pairs (2j, 2j+1),
// theta_j = base^(-2j / (D/3)). Where 6 does not divide D, the first 6·⌊D/6⌋ channels rotate and the rest pass.
#pragma once
#include "../../core/context.h"
#include "../../isa/isa.h"

namespace md::rotary_embedding {

/// Cosine and sine of every token's angles: xyz [..., T, 3], f32 or f64 -> [..., T, 3·⌊D/6⌋, 2]. Angles are
/// scale · coordinate · theta_j, computed in f64. ValueError unless headDim >= 1, scale is finite and base > 0.
Tensor table(Context& context, const Tensor& xyz, int64_t headDim, double scale, double base, const char* op);

/// Rotates the pairs of x [..., T, D] by a table [..., T, pairs, 2], or back where `inverse` (the gradient). Leading axes
/// broadcast; a table without the heads axis of x [..., heads, T, D] serves all heads. Memory order follows x.
Tensor apply(Context& context, const Tensor& x, const Tensor& table, bool inverse, const char* op);

// Kernels of cpu.cpp.

/// Rows of an apply call: axes in the memory order of x, strides in elements.
struct RowLoop {
  int rank = 0;
  int64_t extent[kMaxRank] = {};
  int64_t x[kMaxRank] = {}, table[kMaxRank] = {}, out[kMaxRank] = {};
  int64_t headDim = 0, pairs = 0;
};

/// xyz and table of `tokens` tokens; `pairs` an axis.
MD_KERNEL(void, tableRange, DType dtype, const void* xyz, void* table, int64_t tokens, int64_t pairs, double scale, double base)
/// Rows [begin, end) of the loop.
MD_KERNEL(void, applyRows, DType dtype, const RowLoop& loop, int64_t begin, int64_t end, const void* x, const void* table, void* out, bool inverse)

}  // namespace md::rotary_embedding
