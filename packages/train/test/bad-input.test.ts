import { cpSync, existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readSafetensors, type StateDict, writeSafetensors } from "@md/nn";
import { DisposedError, memory, scope, type Tensor, tensor } from "@md/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Checkpoint } from "../src/checkpoint/checkpoint.js";
import { describeFailure, exitStatus } from "../src/commands/failure.js";
import { type ConfigLayer } from "../src/config/resolve.js";
import { parseOverride } from "../src/config/sources.js";
import { evaluateCheckpoint } from "../src/evaluate/evaluation.js";
import { Run } from "../src/run/run.js";
import { makeFixture } from "./support/fixture.js";

const { folder, data, remove } = makeFixture(2);
afterAll(remove);
const out = join(folder, "out");
const good = join(folder, "good");

/** A small policy and two steps. */
const small: ConfigLayer = {
  source: "test",
  values: {
    policy: { embedDim: 12, numHeads: 2, numLayers: 1, samples: 2, positionFrequencies: 1 },
    data: { points: 8, instructionDim: 8, cameras: ["front"], workers: 0 },
    training: { steps: 2, batchSize: 2 },
  },
};

async function train(to: string, root = data, ...assignments: string[]): Promise<void> {
  const run = await Run.start({ out: to, layers: [small, ...assignments.map(parseOverride)], data: { root } });
  try {
    await run.train();
  } finally {
    run.dispose();
  }
}
const evaluate = async (checkpoint: string, root = data): Promise<void> =>
  void (await evaluateCheckpoint({ checkpoint, data: { root }, samples: 1, steps: 1 }));

/** What the command prints and how it exits, for a failure that it must know as the user's to mend. */
async function failureOf(body: () => Promise<void>): Promise<{ status: number; message: string }> {
  const error = await body().then(
    () => expect.fail("nothing was thrown"),
    (thrown: unknown) => thrown,
  );
  const { status, message } = describeFailure(error);
  if (status === exitStatus.bug) throw error;
  expect(message).not.toMatch(/^ +at /m);
  return { status, message: message! };
}

beforeAll(() => train(good));

describe("recordings", () => {
  const episode = "reach_sphere/all_variations/episodes/episode1";
  const damages: [what: string, damage: (directory: string) => void, message: RegExp][] = [
    ["a truncated pickle", (at) => truncateSync(join(at, "low_dim_obs.pkl"), 1000), /low_dim_obs\.pkl\]/],
    [
      "a pickle that calls",
      (at) => writeFileSync(join(at, "low_dim_obs.pkl"), "cos\nsystem\n(S'touch pwned'\ntR."),
      /low_dim_obs\.pkl\] global "os\.system" is not on the whitelist/,
    ],
    [
      "hostile instructions",
      (at) => writeFileSync(join(at, "variation_descriptions.pkl"), "cbuiltins\neval\n(S'1'\ntR."),
      /variation_descriptions\.pkl\] global "builtins\.eval"/,
    ],
    ["no pickle", (at) => rmSync(join(at, "low_dim_obs.pkl")), /low_dim_obs\.pkl\] cannot be read/],
    ["a truncated image", (at) => truncateSync(join(at, "front_rgb", "0.png"), 500), /front_rgb.0\.png\] PNG is/],
    [
      "a missing camera",
      (at) => rmSync(join(at, "front_depth"), { recursive: true }),
      /front_depth\] the episode has no/,
    ],
    ["a missing frame", (at) => rmSync(join(at, "front_depth", "0.png")), /front_depth.0\.png\] cannot be read/],
    [
      "a depth that is not finite",
      (at) => patchNumber(join(at, "low_dim_obs.pkl"), "front_camera_far", 1e308),
      /episode1\/low_dim_obs\.pkl frame 0 front\] depth at pixel \(\d+, \d+\) is Infinity/,
    ],
    [
      "NaN in a calibration",
      (at) => patchNumber(join(at, "low_dim_obs.pkl"), "front_camera_near", NaN),
      /low_dim_obs\.pkl\] frame 0: misc\.front_camera_near/,
    ],
  ];
  for (const [what, damage, message] of damages) {
    it(`${what}: training and evaluation name it, and nothing is written`, async () => {
      const root = join(folder, "damaged");
      cpSync(data, root, { recursive: true });
      damage(join(root, episode));
      for (const use of [() => train(out, root), () => evaluate(good, root)]) {
        const failure = await failureOf(use);
        expect(failure.message).toMatch(message);
        expect(failure.status).toBe(exitStatus.failure);
      }
      expect(existsSync(out)).toBe(false);
      expect(existsSync("pwned")).toBe(false);
      rmSync(root, { recursive: true });
    });
  }

  it("an empty point cloud and a camera that no one recorded are named", async () => {
    const empty = await failureOf(() => train(out, data, "data.tableHeight=50"));
    expect(empty.message).toMatch(/episode0 frame 0\] the point cloud is empty/);
    const absent = await failureOf(() => train(out, data, "data.cameras=[overhead]"));
    expect(absent.message).toMatch(/low_dim_obs\.pkl\] frame 0 has no calibration of camera "overhead"/);
    expect(existsSync(out)).toBe(false);
  });

  // The pickler writes a float as its opcode and eight bytes, behind the key.
  function patchNumber(file: string, key: string, value: number): void {
    const bytes = readFileSync(file);
    bytes.writeDoubleBE(value, bytes.indexOf(key) + key.length + 1);
    writeFileSync(file, bytes);
  }
});

describe("what does not fit into memory", () => {
  const huge: [assignment: string, status: number, message: RegExp][] = [
    ["data.points=1e12", exitStatus.usage, /data\.points is 1000000000000 .*expected an integer from 1 to/],
    ["data.instructionDim=1e12", exitStatus.usage, /data\.instructionDim is/],
    ["training.batchSize=1e9", exitStatus.usage, /training\.batchSize is/],
    ["training.accumulate=1e9", exitStatus.usage, /training\.accumulate is/],
    ["policy.numLayers=1e9", exitStatus.usage, /\[mini-diffuser-light\] policy\.numLayers is 1000000000, expected/],
    ["policy.numTrainTimesteps=1e12", exitStatus.usage, /policy\.numTrainTimesteps is/],
    ["policy.samples=1e12", exitStatus.usage, /policy\.samples is 1000000000000, expected an integer from 1 to 65536/],
    ["policy.embedDim=97", exitStatus.usage, /policy\.embedDim is 97, expected a multiple of numHeads = 2/],
    ["policy.binCells=[16, -1]", exitStatus.usage, /policy\.binCells is \[16,-1\]/],
    ["policy.embedDim=600000", exitStatus.failure, /\[\w+\] needs \d+ bytes with \d+ live, limit is \d+/],
  ];
  for (const [assignment, status, message] of huge) {
    it(`${assignment} is refused`, async () => {
      const { liveBytes } = memory();
      const failure = await failureOf(() => train(out, data, assignment));
      expect(failure.message).toMatch(message);
      expect(failure.status).toBe(status);
      expect(memory().liveBytes).toBe(liveBytes);
      expect(existsSync(out)).toBe(false);
    });
  }

  it("leaves a process that still trains", async () => {
    await train(out);
    expect(readdirSync(out).sort()).toEqual(["checkpoint.safetensors", "metrics.jsonl"]);
    rmSync(out, { recursive: true });
  });
});

describe("what was disposed", () => {
  it("is named by a trainer that goes on after its policy or its own state is gone", async () => {
    for (const dispose of [(run: Run) => run.parts.policy.dispose(), (run: Run) => run.trainer.dispose()]) {
      const run = await Run.start({ out, layers: [small], data: { root: data } });
      await run.trainer.trainStep();
      dispose(run);
      await expect(run.trainer.trainStep()).rejects.toThrow(DisposedError);
      run.dispose();
    }
    rmSync(out, { recursive: true });
  });

  it("is named by a checkpoint that was closed", async () => {
    const checkpoint = new Checkpoint(good);
    checkpoint.close();
    const { message } = await failureOf(async () => void (await checkpoint.loadPolicy()));
    expect(message).toMatch(/checkpoint\.safetensors\] cannot be loaded/);
  });
});

describe("checkpoints", () => {
  const bad = join(folder, "bad.safetensors");
  let tensors: StateDict;
  let metadata: Record<string, unknown>;
  beforeAll(() => {
    const content = readSafetensors(join(good, "checkpoint.safetensors"));
    tensors = content.tensors;
    metadata = JSON.parse(content.metadata["minidiff"]!) as Record<string, unknown>;
  });
  const write = (content: unknown, dict = tensors): void =>
    writeSafetensors(bad, dict, { minidiff: JSON.stringify(content) });

  it("any value of the metadata that is absent or hostile is accepted or named", async () => {
    let refused = 0;
    for (const path of pathsIn(metadata)) {
      for (const value of [undefined, null, -1, 1e308, "x", {}]) {
        write(withValue(metadata, path, value));
        await evaluate(bad).catch((error: unknown) => {
          const { status, message } = describeFailure(error);
          if (status === exitStatus.bug) throw new Error(`${path.join(".")} = ${String(value)}`, { cause: error });
          expect(message).toMatch(/^minidiff: \[.+\] /);
          refused++;
        });
      }
    }
    expect(refused).toBeGreaterThan(200);
  }, 120_000);

  it("tensors that are missing, of another shape or not finite are named, and nothing is kept of the policy", async () => {
    const name = "model.noise.bias";
    const { liveBytes } = memory();
    write(metadata, new Map([...tensors].filter(([key]) => key !== name)));
    expect((await failureOf(() => evaluate(bad))).message).toMatch(
      /bad\.safetensors\] cannot be loaded: .*noise\.bias/s,
    );
    scope(() => write(metadata, new Map([...tensors, [name, tensor([1, 2])]])));
    expect((await failureOf(() => evaluate(bad))).message).toMatch(
      /bad\.safetensors\] cannot be loaded: .*noise\.bias/s,
    );
    const spoilt = (key: string): [string, Tensor] => [key, tensor([NaN, 0, 0])];
    scope(() => write(metadata, new Map([...tensors, spoilt(name), spoilt(name.replace("model", "ema"))])));
    expect((await failureOf(() => evaluate(bad))).message).toMatch(/expected finite coordinates/);
    expect(memory().liveBytes).toBe(liveBytes);
  });

  it("a policy that is unknown, or a module that is not there, is named", async () => {
    for (const name of ["mini-diffuser-lite", join(folder, "gone.mjs")]) {
      write(withValue(metadata, ["policy", "name"], name));
      expect((await failureOf(() => evaluate(bad))).message).toMatch(/bad\.safetensors\] needs a policy that cannot/);
    }
  });
});

function* pathsIn(value: unknown, path: string[] = []): Generator<string[]> {
  if (path.length > 0) yield path;
  if (typeof value !== "object" || value === null) return;
  for (const [key, inner] of Object.entries(value)) yield* pathsIn(inner, [...path, key]);
}

function withValue(metadata: object, path: readonly string[], value: unknown): unknown {
  const copy = structuredClone(metadata);
  let at = copy as Record<string, unknown>;
  for (const key of path.slice(0, -1)) at = at[key] as Record<string, unknown>;
  at[path.at(-1)!] = value;
  return copy;
}
