#include "cuda.h"

#include "../../core/cuda/launch.h"
#include "shared.h"

namespace md::serialize {
namespace {

using namespace md::cuda;

__global__ void encodeKernel(int64_t n, const int32_t* __restrict__ coordinates, const int64_t* __restrict__ batch, bool hilbert, int first, int depth,
                             int64_t* __restrict__ codes, int32_t* __restrict__ order, Complaint* complaint, const char* op) {
  const int32_t limit = 1 << depth;
  const int64_t batchLimit = int64_t{1} << (63 - 3 * depth);
  gridStride(n, [&](int64_t row) {
    const int32_t* at = coordinates + 3 * row;
    const int64_t item = batch[row];
    bool inside = item >= 0 && item < batchLimit;
    for (int axis = 0; axis < 3; axis++) inside = inside && at[axis] >= 0 && at[axis] < limit;
    order[row] = static_cast<int32_t>(row);
    codes[row] = 0;
    if (!inside) {
      return complain(complaint, op, Wrong::row, row, 0, 0, "coordinates from 0 to 2^depth - 1 and a batch item that fits beside the code in 63 bits");
    }
    int32_t x[3][1] = {{at[first]}, {at[1 - first]}, {at[2]}};
    if (hilbert) toHilbert(x, depth);
    codes[row] = item << 3 * depth | interleave(x[0][0], x[1][0], x[2][0]);
  });
}

__global__ void invertKernel(int64_t n, const int32_t* __restrict__ order, int32_t* __restrict__ inverse) {
  gridStride(n, [&](int64_t i) { inverse[order[i]] = static_cast<int32_t>(i); });
}

}  // namespace

void encodeCuda(Context& context, const Tensor& coordinates, const Tensor& batch, Curve curve, int depth, const Serialization& out, const char* op) {
  const int64_t n = batch.numel();
  if (n == 0) return;
  const bool hilbert = curve == Curve::hilbert || curve == Curve::hilbertTrans;
  const int first = curve == Curve::zTrans || curve == Curve::hilbertTrans ? 1 : 0;
  launch(context, op, encodeKernel, blocksFor(n), kThreads, n, coordinates.data<int32_t>(), batch.data<int64_t>(), hilbert, first, depth,
         out.code.data<int64_t>(), out.order.data<int32_t>(), complaintOf(context), op);
}

void invertCuda(Context& context, const Tensor& order, const Tensor& inverse, const char* op) {
  const int64_t n = order.numel();
  if (n > 0) launch(context, op, invertKernel, blocksFor(n), kThreads, n, order.data<int32_t>(), inverse.data<int32_t>());
}

}  // namespace md::serialize
