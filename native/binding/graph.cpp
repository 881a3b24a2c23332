// CUDA graphs: work of a device that is captured once and replayed.
#include <utility>

#include "families.h"

namespace md::binding {
namespace {

/// The queue of the call's device, argument `i`.
DeviceQueue& queueAt(Call& call, size_t i) {
  call.onDevice(i);
  if (DeviceQueue* queue = call.context().stream.queue) return *queue;
  fail(ErrorKind::device, call.op, "found cpu, expected a CUDA device");
}

/// Argument `i`, a Float64Array of integers within ±2^53; those below 0 wrap around.
std::vector<uint64_t> integersAt(const Call& call, size_t i) {
  const auto numbers = call.value(i).As<Napi::Float64Array>();
  std::vector<uint64_t> out;
  for (size_t k = 0; k < numbers.ElementLength(); k++) out.push_back(static_cast<uint64_t>(static_cast<int64_t>(numbers[k])));
  return out;
}

/// beginGraph(device, seeds of the generators that are drawn from): what the device is given from here on is captured.
void beginGraph(Call& call) {
  Environment& env = call.environment();
  DeviceQueue& queue = queueAt(call, 0);
  if (env.capturing) fail(ErrorKind::unsupported, call.op, "found a graph that is being captured, expected one at a time");
  queue.beginCapture(integersAt(call, 1), call.op);
  env.capturing = std::make_unique<Graph>();
}

/// endGraph(device) => the graph's number
Napi::Value endGraph(Call& call) {
  Environment& env = call.environment();
  DeviceQueue& queue = queueAt(call, 0);
  const std::unique_ptr<Graph> graph = std::exchange(env.capturing, nullptr);
  if (!graph) fail(ErrorKind::unsupported, call.op, "found no graph that is being captured");
  graph->work = queue.endCapture(call.op);
  env.graphs[++env.lastGraph] = std::move(*graph);
  return Napi::Number::New(call.napi(), env.lastGraph);
}

/// abortGraph(device): drops what was captured.
void abortGraph(Call& call) {
  queueAt(call, 0).abortCapture();
  call.environment().capturing.reset();
}

/// replayGraph(graph, blocks that each generator has moved on since the capture)
void replayGraph(Call& call) {
  Environment& env = call.environment();
  const auto found = env.graphs.find(call.integer(0));
  if (found == env.graphs.end()) fail(ErrorKind::disposed, call.op, "the graph was disposed, expected a live one");
  found->second.work->replay(integersAt(call, 1), call.op);
}

/// freeGraph(graph)
void freeGraph(Call& call) { call.environment().graphs.erase(call.integer(0)); }

}  // namespace

void registerGraph(Napi::Env env, Napi::Object exports, Environment& environment) {
  constexpr Runs all = Runs::everywhere;
  define(env, exports, environment,
         {Entry{"beginGraph", beginGraph, all}, Entry{"abortGraph", abortGraph, all}, Entry{"replayGraph", replayGraph, all}, Entry{"freeGraph", freeGraph, all}});
  define(env, exports, environment, {ValueEntry{"endGraph", endGraph, all}});
}

}  // namespace md::binding
