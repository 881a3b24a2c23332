import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { registerPolicy } from "@md/diffusion";
import { writeSyntheticReach } from "@md/rlbench-data";
import type { ConfigLayer } from "../../src/config/resolve.js";
import toyPolicy from "./toy-policy.js";

registerPolicy(toyPolicy);

/** File of the policy that the tests train. */
export const toyPolicyFile = fileURLToPath(new URL("./toy-policy.ts", import.meta.url));

/** A folder with a few synthetic demonstrations, and place for runs; `remove()` it afterwards. */
export function makeFixture(episodes = 4): { folder: string; data: string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), "md-train-"));
  const data = join(folder, "data");
  writeSyntheticReach({ root: data, episodes, seed: 5 });
  return { folder, data, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** A short run of the toy policy: 10 steps, epochs of 4 states in batches of 3, so that steps end within an epoch. */
export const toyLayer: ConfigLayer = {
  source: "test",
  values: {
    model: toyPolicy.name,
    data: { points: 32, rotationRange: 20, jitter: 0.01, instructionDim: 8, workers: 0 },
    optimizer: { learningRate: 0.05, warmupSteps: 2 },
    training: { steps: 10, batchSize: 3, logEvery: 1, checkpointEvery: 1000, validateEvery: 5 },
  },
};
