import { type DeviceName, type OpCase, runOpCaseOn } from "@md/tensor";
import { lacksKernel } from "../../goldens/report.js";
import { messageOf, type Outcome } from "./outcome.js";

// Kernels with shared memory and barriers: what a race detector is for. A few, for it slows them a hundredfold.
const cooperative = /^(sum|argmax|softmax|layerNorm|crossEntropy|matmul|maskedAttention: (level2|varlen))/;
const FEW = 12;

export const raceCases = (all: readonly OpCase[]): OpCase[] =>
  all.filter(({ name }) => cooperative.test(name)).slice(0, FEW);

/** Each row on `device` against the CPU: values and gradients, f32 and f64. A row whose op has no kernel is skipped. */
export function checkOpCases(device: DeviceName, opCases: readonly OpCase[], outcome: Outcome): void {
  for (const opCase of opCases) {
    const { name } = opCase;
    try {
      runOpCaseOn(device, opCase);
      outcome.add({ name, status: "passed" });
    } catch (error) {
      outcome.add({ name, status: lacksKernel(error) ? "skipped" : "failed", reason: messageOf(error) });
    }
  }
}
