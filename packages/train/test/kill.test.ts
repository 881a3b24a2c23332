import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, expect, it } from "vitest";
import { Checkpoint } from "../src/checkpoint/checkpoint.js";
import { Run } from "../src/run/run.js";
import { makeFixture } from "./support/fixture.js";

const child = fileURLToPath(new URL("./support/train-child.ts", import.meta.url));
const { folder, data, remove } = makeFixture();
afterAll(remove);

const startChild = (out: string): ChildProcess =>
  spawn(process.execPath, ["--conditions", "@md/source", "--import", "tsx", child, out, data], { stdio: "ignore" });

it("leaves a loadable checkpoint when it is killed at any moment of writing one after another", async () => {
  const lastSteps: number[] = [];
  for (let round = 0; round < 4; round++) {
    const out = join(folder, `run${round}`);
    const file = join(out, "checkpoint.safetensors");
    const training = startChild(out);
    try {
      for (let waited = 0; !existsSync(file) && training.exitCode === null && waited < 40_000; waited += 20)
        await sleep(20);
      expect(existsSync(file)).toBe(true);
      // Writes follow each other closely, so that a random moment is most often within one.
      await sleep(50 + 37 * round);
    } finally {
      const exit = once(training, "exit");
      training.kill("SIGKILL");
      await exit;
    }
    using checkpoint = new Checkpoint(out);
    const policy = await checkpoint.loadPolicy();
    policy.dispose();
    lastSteps.push(checkpoint.metadata.step);
    const resumed = await Run.resume(out, {
      budget: [{ source: "test", values: { training: { steps: checkpoint.metadata.step + 2 } } }],
    });
    await resumed.train();
    expect(resumed.trainer.step).toBe(checkpoint.metadata.step + 2);
    resumed.dispose();
    expect(readdirSync(out).sort()).toEqual(["checkpoint.safetensors", "metrics.jsonl"]);
  }
  expect(Math.max(...lastSteps)).toBeGreaterThan(1);
}, 180_000);
