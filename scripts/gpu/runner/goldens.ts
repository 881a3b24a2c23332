import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { DeviceName } from "@md/tensor";
import { goldenOps } from "../../../packages/tensor/test/goldens/ops.js";
import { checkOps } from "../../goldens/check-ops.js";
import { readGolden } from "../../goldens/golden-file.js";
import type { Outcome } from "./outcome.js";

/** The golden files of ops in `folder`, forward and gradients on `device`. */
export function checkGoldens(device: DeviceName, folder: string, outcome: Outcome): void {
  if (!existsSync(folder)) {
    outcome.add({ name: "golden files", status: "skipped", reason: "none were staged" });
    return;
  }
  for (const name of readdirSync(folder)) {
    const { passed, failed, pending, messages } = checkOps(readGolden(join(folder, name)), goldenOps, device);
    const reason = messages.join("\n");
    const status = failed > 0 ? "failed" : passed > 0 ? "passed" : "skipped";
    outcome.add({ name, status, reason, numbers: { passed, failed, pending } });
  }
}
