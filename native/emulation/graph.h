// Capturing: what is queued on a device while it captures is noted, and done when the graph is launched.
#pragma once
#include <functional>

namespace md::emulation {

bool capturing(int device);
/// Notes work of a device that captures.
void capture(int device, std::function<void()> work);
/// Waiting for a device that captures ends its capture, as on a GPU.
void invalidateCapture(int device);

}  // namespace md::emulation
