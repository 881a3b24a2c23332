#include "cub.h"

#include "launch.h"

#if defined(__CUDACC__) && __has_include(<cub/device/device_radix_sort.cuh>) && __has_include(<cub/device/device_scan.cuh>)

#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

namespace md::cuda {
namespace {

/// body(workspace, bytes) twice: first, without a workspace, it says how many bytes it needs.
template <class Body>
void withWorkspace(Context& context, const char* op, Body body) {
  const auto check = [&](cudaError_t error) {
    if (error != cudaSuccess) fail(ErrorKind::device, op, context.stream.device.str(), ": CUB: ", cudaGetErrorString(error));
  };
  useDevice(context, op);
  size_t bytes = 0;
  check(body(nullptr, bytes));
  const Tensor workspace = empty(context, DType::u8, {static_cast<int64_t>(bytes)}, op);
  check(body(workspace.raw(), bytes));
  checkLaunch(context, op);
}

template <class Code>
void sortPairs(Context& context, Tensor& codes, Tensor& order, int bits, const char* op) {
  Tensor codesOut = empty(context, codes.dtype, codes.shape, op), orderOut = empty(context, DType::i32, order.shape, op);
  const auto at = [](const Tensor& x) { return static_cast<Code*>(x.raw()); };
  cub::DoubleBuffer<Code> keys(at(codes), at(codesOut));
  cub::DoubleBuffer<int32_t> values(order.data<int32_t>(), orderOut.data<int32_t>());
  withWorkspace(context, op, [&](void* workspace, size_t& bytes) {
    return cub::DeviceRadixSort::SortPairs(workspace, bytes, keys, values, static_cast<int32_t>(codes.numel()), 0, bits, streamOf(context));
  });
  if (keys.Current() != at(codes)) std::swap(codes, codesOut);
  if (values.Current() != order.data<int32_t>()) std::swap(order, orderOut);
}

template <class T>
void startsIn(Context& context, const Tensor& counts, const char* op) {
  T* const values = counts.data<T>();
  withWorkspace(context, op, [&](void* workspace, size_t& bytes) {
    return cub::DeviceScan::ExclusiveSum(workspace, bytes, values, values, counts.numel(), streamOf(context));
  });
}

}  // namespace

bool hasCub() { return true; }

void cubSortPairs(Context& context, Tensor& codes, Tensor& order, int bits, const char* op) {
  if (codes.dtype == DType::i32) return sortPairs<uint32_t>(context, codes, order, bits, op);
  sortPairs<uint64_t>(context, codes, order, bits, op);
}

void cubStartsOf(Context& context, const Tensor& counts, const char* op) {
  if (counts.dtype == DType::i32) return startsIn<int32_t>(context, counts, op);
  startsIn<int64_t>(context, counts, op);
}

}  // namespace md::cuda

#else

namespace md::cuda {

bool hasCub() { return false; }
void cubSortPairs(Context&, Tensor&, Tensor&, int, const char*) {}
void cubStartsOf(Context&, const Tensor&, const char*) {}

}  // namespace md::cuda

#endif
