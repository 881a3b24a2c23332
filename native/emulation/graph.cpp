#include "graph.h"

#include <memory>
#include <vector>

#include "memory.h"
#include "runtime.h"
#include "threads.h"

struct EmulatedGraph {
  std::vector<std::function<void()>> work;
};

namespace md::emulation {
namespace {

struct Capture {
  std::unique_ptr<EmulatedGraph> graph;  // null where the device captures nothing
  bool valid = true;
};
Capture captures[kDevices];

}  // namespace

bool capturing(int device) { return captures[device].graph != nullptr; }
void capture(int device, std::function<void()> work) { captures[device].graph->work.push_back(std::move(work)); }
void invalidateCapture(int device) { captures[device].valid = false; }

}  // namespace md::emulation

using namespace md::emulation;

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  const int device = currentDevice();
  if (capturing(device)) return cudaErrorStreamCaptureUnsupported;
  captures[device] = {std::make_unique<EmulatedGraph>(), true};
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  Capture capture = std::move(captures[currentDevice()]);
  if (!capture.valid || !capture.graph) return cudaErrorStreamCaptureInvalidated;
  *graph = capture.graph.release();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* work, cudaGraph_t graph, unsigned long long) {
  *work = std::make_unique<EmulatedGraph>(*graph).release();
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t) {
  for (const auto& work : graph->work) work();
  return cudaGetLastError();
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  std::unique_ptr<EmulatedGraph>{graph};
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t work) { return cudaGraphDestroy(work); }
