import { type DeviceName, type OpCase, runOpCaseOn } from "@md/tensor";
import { lacksKernel } from "../../goldens/report.js";
import { messageOf, type Outcome } from "./outcome.js";

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
