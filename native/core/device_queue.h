// A device other than the CPU, as one Node environment sees it: its memory, and a queue in which kernels and copies run
// in the order they were given. core/cuda/ has the one implementation; a build without it has none.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "allocator.h"
#include "device.h"

namespace md {

/// Work of a queue that was captured instead of done.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  /// Queues all of it once more, with the addresses and numbers of the capture; random draws `moved[i]` blocks further on
  /// in the stream of the capture's key i.
  virtual void replay(std::span<const uint64_t> moved, const char* op) = 0;
};

class DeviceQueue {
 public:
  virtual ~DeviceQueue() = default;
  /// Blocks are reused in the order of the queue: a released one is safe for whatever is queued after that.
  virtual Allocator& allocator() = 0;
  /// The device's own, of which a graph that is being captured takes its memory too.
  virtual Allocator& deviceAllocator() = 0;
  /// Copies from host memory, which may change as soon as the call returns.
  virtual void upload(const void* host, void* device, size_t bytes, const char* op) = 0;
  /// Copies to host memory; waits for all that is queued.
  virtual void download(const void* device, void* host, size_t bytes, const char* op) = 0;
  /// Between two places on this device that do not overlap.
  virtual void copy(const void* from, void* to, size_t bytes, const char* op) = 0;
  virtual void clear(void* device, size_t bytes, const char* op) = 0;
  /// Waits for all that is queued and throws what went wrong in it.
  virtual void synchronize(const char* op) = 0;

  /// From here on work is captured. allocator() is the graph's own: what it gave stays the graph's until that is deleted,
  /// also where a tensor is freed. Whatever would wait for the device is an Error (unsupported) that names the op; so is a
  /// random draw by another key than these, which replays would repeat.
  virtual void beginCapture(std::span<const uint64_t> keys, const char* op) = 0;
  /// The graph must not outlive the queue.
  virtual std::unique_ptr<DeviceGraph> endCapture(const char* op) = 0;
  /// Drops what was captured.
  virtual void abortCapture() = 0;
};

struct DeviceInfo {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  size_t totalBytes = 0;
  bool matrixUnits = false;  // whether it has the instructions of core/cuda/fragments.h
};

/// What this build and machine have of CUDA.
struct CudaStatus {
  bool compiled = false;
  bool emulated = false;      // kernels run on the CPU, under checks (native/emulation)
  int driver = 0, runtime = 0;  // 1000 · major + 10 · minor; 0 for none
  std::string architectures;  // that kernels were compiled for
  std::string reason;         // why there is no device; empty if there is one
  std::vector<DeviceInfo> devices;
};

const CudaStatus& cudaStatus();

/// A new queue on `device`. Error (device) that says why there is none.
DeviceQueue* openQueue(Device device, const char* op);

}  // namespace md
