// Where an output pixel takes its value from, the same on every device.
#pragma once
#include <cstdint>

#include "../../core/host_device.h"

namespace md::interpolate {

/// Along one axis: an output mixes inputs `low` and `high` as (1 - weight) and weight.
struct Tap {
  int64_t low, high;
  double weight;
};

/// Of output i; `low` never falls with i.
MD_HOST_DEVICE inline Tap tapOf(int64_t i, int64_t extent, int64_t out, bool alignCorners) {
  const double position = static_cast<double>(i), size = static_cast<double>(extent);
  const double aligned = out > 1 ? position * (size - 1) / static_cast<double>(out - 1) : 0.0;
  const double centered = (position + 0.5) * size / static_cast<double>(out) - 0.5;
  const double source = alignCorners ? aligned : (centered > 0.0 ? centered : 0.0);
  const auto below = static_cast<int64_t>(source);
  const int64_t low = below < extent - 1 ? below : extent - 1;
  return {low, low + 1 < extent - 1 ? low + 1 : extent - 1, source - static_cast<double>(low)};
}

}  // namespace md::interpolate
