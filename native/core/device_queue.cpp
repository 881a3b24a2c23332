#include "device_queue.h"

#include "cuda/backend.h"
#include "error.h"

namespace md {

const CudaStatus& cudaStatus() {
  static const CudaStatus status = [] {
    if (cuda::readStatus) return cuda::readStatus();
    CudaStatus none;
    none.reason = "this build has no CUDA kernels: nvcc was not found or MD_CUDA was off";
    return none;
  }();
  return status;
}

DeviceQueue* openQueue(Device device, const char* op) {
  const CudaStatus& status = cudaStatus();
  const auto count = static_cast<int32_t>(status.devices.size());
  if (count == 0) fail(ErrorKind::device, op, "no CUDA device: ", status.reason);
  if (device.index < 0 || device.index >= count) {
    fail(ErrorKind::device, op, "found ", device.str(), ", expected cuda:0 to cuda:", count - 1);
  }
  return cuda::openQueue(device.index, op);
}

}  // namespace md
