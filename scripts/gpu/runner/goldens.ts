import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { DeviceName } from "@md/tensor";
import { goldenOps } from "../../../packages/tensor/test/goldens/ops.js";
import { checkMiniDiffuser, isMiniDiffuser } from "../../goldens/check-mini-diffuser.js";
import { checkOps } from "../../goldens/check-ops.js";
import { readGolden } from "../../goldens/golden-file.js";
import type { Outcome } from "./outcome.js";

/** The golden files in `folder` on `device`: of ops, forward and gradients, and of whole training steps and sampling. */
export function checkGoldens(device: DeviceName, folder: string, outcome: Outcome): void {
  if (!existsSync(folder)) {
    outcome.add({ name: "golden files", status: "skipped", reason: "none were staged" });
    return;
  }
  for (const name of readdirSync(folder)) {
    const golden = readGolden(join(folder, name));
    const { passed, failed, pending, messages } = isMiniDiffuser(golden)
      ? checkMiniDiffuser(golden, device)
      : checkOps(golden, goldenOps, device);
    const reason = messages.join("\n");
    const status = failed > 0 ? "failed" : passed > 0 ? "passed" : "skipped";
    outcome.add({ name, status, reason, numbers: { passed, failed, pending } });
  }
}
