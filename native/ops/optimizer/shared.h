// What AdamW multiplies by in one step: computed by the host, or by a kernel from numbers that lie on the device.
#pragma once
#include <cmath>
#include <cstdint>

#include "../../core/host_device.h"

namespace md::optimizer {

/// What does not change from step to step.
struct AdamWConstants {
  double beta1, beta2, eps, weightDecay;
};

struct AdamWFactors {
  double gradScale, decay, beta1, beta2, stepSize, inverseRootCorrection2, eps;
};

/// `step` is 1 for the first update.
MD_HOST_DEVICE inline AdamWFactors factorsOf(const AdamWConstants& c, double learningRate, int64_t step, double gradScale) {
  const double correction1 = 1 - std::pow(c.beta1, static_cast<double>(step)), correction2 = 1 - std::pow(c.beta2, static_cast<double>(step));
  return {gradScale, 1 - learningRate * c.weightDecay, c.beta1, c.beta2, learningRate / correction1, 1 / std::sqrt(correction2), c.eps};
}

}  // namespace md::optimizer
