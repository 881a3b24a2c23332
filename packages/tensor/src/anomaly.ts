import { native, ValueError } from "@md/native";
import type { Tensor } from "./tensor.js";

let enabled = false;
/** Whether {@link detectAnomaly} is at work. */
export const anomalyEnabled = (): boolean => enabled;

/**
 * Runs `body` and throws a ValueError as soon as an op, forward or backward, makes a NaN from inputs without one; the
 * message names the op and its input shapes. Slow: every output is read once more.
 */
export function detectAnomaly<T>(body: () => T): T {
  const outer = enabled;
  enabled = true;
  try {
    return body();
  } finally {
    enabled = outer;
  }
}

export function checkAnomaly(op: string, inputs: readonly (Tensor | null)[], outputs: readonly Tensor[]): void {
  for (const output of outputs) {
    if (!native.hasNaN(output.slot)) continue;
    const shapes = inputs.map((input) => (input ? `[${input.shape}]` : "none")).join(", ");
    throw new ValueError(`[${op}] made the first NaN, from inputs of shape ${shapes}`);
  }
}
