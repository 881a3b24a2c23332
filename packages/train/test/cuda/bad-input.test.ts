import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cudaInfo, Generator, memory, OutOfMemoryError, resetPeakMemory, scope, setMemoryLimit } from "@md/tensor";
import { afterAll, describe, expect, it } from "vitest";
import type { Diagnosis } from "../../src/commands/doctor.js";
import { AdamW } from "../../src/optim/adamw.js";
import { makeFixture, toyPolicyFile } from "../support/fixture.js";
import { batchOf, smallActor } from "../support/small-actor.js";

const { devices, emulated } = cudaInfo();
const device = "cuda:0";
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const { folder, data, remove } = makeFixture();
afterAll(remove);

function run(
  program: string,
  args: string[],
  env: Record<string, string> = {},
): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, ["--conditions", "@md/source", "--import", "tsx", program, ...args], {
    encoding: "utf8",
    timeout: 200_000,
    env: { ...process.env, ...env },
  });
}
const minidiff = (args: string[], env?: Record<string, string>): ReturnType<typeof run> =>
  run(here("../../src/cli.ts"), args, env);
const train = (out: string, where: string): string[] => [
  ...["train", "--data", data, "--out", join(folder, out), "--model", toyPolicyFile, "--device", where],
  ...["--steps", "2", "data.points=32", "data.workers=0"],
];

describe.skipIf(devices.length === 0)("a device that runs out of memory within a step", () => {
  it("leaves an OutOfMemoryError and nothing else: the next step has the bits of one before which nothing failed", () => {
    let need = 0;
    const stepWithin = (room: number | null): unknown[] => {
      const before = memory(device);
      const policy = smallActor().to(device);
      const optimizer = new AdamW(policy.namedParameters());
      const step = (): void =>
        scope(() => {
          policy.zeroGrad();
          policy.loss(batchOf(1), new Generator(2)).loss.backward();
          optimizer.step();
        });
      if (room !== null) {
        setMemoryLimit(memory(device).liveBytes + room, device);
        expect(step).toThrow(OutOfMemoryError);
        expect(step).toThrow(/^\[\w+\] needs \d+ bytes with \d+ live, limit is \d+$/);
        setMemoryLimit(before.limitBytes, device);
      }
      resetPeakMemory(device);
      const { liveBytes } = memory(device);
      step();
      need = memory(device).peakBytes - liveBytes;
      policy.zeroGrad();
      const bits = [...policy.parameters()].map((x) => [...x.data()]);
      optimizer.dispose();
      policy.dispose();
      expect(memory(device).liveBytes).toBe(before.liveBytes);
      return bits;
    };
    const expected = stepWithin(null);
    // At the start of the step, on its way, and where it needs most.
    for (const room of [1 << 12, Math.floor(need / 2), need - 1]) expect(stepWithin(room)).toEqual(expected);
  }, 240_000);
});

describe.skipIf(!emulated)("minidiff", () => {
  it("says that a driver is too old, and computes on the CPU", () => {
    const env = { MD_EMULATED_DRIVER: "11040" };
    const reason = "the NVIDIA driver is too old: found one for CUDA 11.4, expected one for CUDA 12.0 or later";
    const { cuda } = JSON.parse(minidiff(["doctor", "--json"], env).stdout) as Diagnosis;
    expect(cuda).toMatchObject({ driver: "11.4", runtime: "12.0", devices: [], off: reason });
    const refused = minidiff(train("old-driver", device), env);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain(`no CUDA device: ${reason}`);
    expect(existsSync(join(folder, "old-driver"))).toBe(false);
    expect(minidiff(train("old-driver", "cpu"), env)).toMatchObject({ status: 0 });
  }, 240_000);

  it("names the devices that there are in place of one that there is not", () => {
    const refused = minidiff(train("no-device", "cuda:9"));
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain("found cuda:9, expected cuda:0 to cuda:1");
    expect(existsSync(join(folder, "no-device"))).toBe(false);
  }, 240_000);
});

describe.skipIf(!emulated)("a fault of a kernel in a training step", () => {
  it.each(["linear", "maskedAttentionGrad", "adamwStep"])(
    "in %s ends the device, and neither process nor CPU",
    (op) => {
      const { status, stdout, stderr } = run(here("./fault-program.ts"), [], { MD_EMULATED_FAULT: op, MD_SYNC: "1" });
      expect(status, stderr).toBe(0);
      const { step, later, cpu } = JSON.parse(stdout) as {
        step: { type: string; message: string };
        later: { type: string; message: string }[];
        cpu: number;
      };
      expect(step.type).toBe("DeviceError");
      expect(step.message).toMatch(new RegExp(`^\\[${op}\\] cuda:0: .*was told to fault`));
      expect(later).toHaveLength(5);
      for (const { type, message } of later) {
        expect(type).toBe("DeviceError");
        expect(message).toContain(`cuda:0 was lost: [${op}] `);
      }
      expect(cpu).toBeGreaterThan(0);
    },
    240_000,
  );
});
