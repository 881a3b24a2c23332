import { MiniDiffuser } from "@md/diffusion";
import { native } from "@md/native";
import { cudaInfo, Generator } from "@md/tensor";
import { describe, expect, it, vi } from "vitest";
import { Trainer } from "../../src/trainer.js";
import { batchOf } from "../support/small-actor.js";

const CPU = 0;
const DEVICE = 2; // of an output's description

type NativeFunction = (...args: unknown[]) => unknown;

/** The functions of the addon that `body` calls, by the device of their outputs: of a function without any, -1. */
async function nativeCalls(body: () => Promise<unknown>): Promise<Map<number, Set<string>>> {
  const calls = new Map<number, Set<string>>();
  const functions = native as unknown as Record<string, NativeFunction>;
  for (const [name, call] of Object.entries(functions)) {
    if (typeof call !== "function") continue;
    vi.spyOn(functions, name).mockImplementation((...args) => {
      native.outputs[DEVICE] = -1;
      const result = call(...args);
      const where = native.outputs[DEVICE]!;
      calls.set(where, (calls.get(where) ?? new Set()).add(name));
      return result;
    });
  }
  try {
    await body();
  } finally {
    vi.restoreAllMocks();
  }
  return calls;
}

describe.skipIf(cudaInfo().devices.length === 0)("a training step of MiniDiffuser on cuda", () => {
  it.each(["f32", "bf16"] as const)(
    "computes nothing on the CPU, in %s",
    async (precision) => {
      const policy = new MiniDiffuser(
        {
          ...{ encChannels: [8, 12], encNumHeads: [2, 2], encDepths: [1, 1] },
          ...{ decChannels: [12], decNumHeads: [2], decDepths: [1] },
          ...{ patchSize: 8, contextDim: 8, samples: 2, voxelSize: 0.1, useProprio: true },
          ...{ instructionDim: 6, checkpointBackbone: true, dropPath: 0.2 },
        },
        { generator: new Generator(1) },
      ).to("cuda:0");
      const trainer = new Trainer({
        policy,
        nextBatch: () => batchOf(1),
        optimizer: {
          ...{ learningRate: 1e-3, weightDecay: 0.1, beta1: 0.9, beta2: 0.98, epsilon: 1e-8 },
          ...{ warmupSteps: 0, finalFraction: 0, clipGradNorm: 0.5, emaDecay: 0.9 },
        },
        training: { steps: 2, maxMinutes: null, accumulate: 1, precision },
        generator: new Generator(2),
      });
      const calls = await nativeCalls(() => trainer.trainStep());
      const where = [...calls.keys()].filter((device) => device >= 0).sort();
      expect(where).toEqual([CPU, 1]);
      // Points until they have cells, and timesteps, which the noise schedule of the host reads.
      expect([...calls.get(CPU)!].sort()).toEqual(["fromBytes", "randint"]);
      expect([...calls.get(1)!]).toEqual(
        expect.arrayContaining([
          "maskedAttention",
          "maskedAttentionGrad",
          "submConv3d",
          "linear",
          "voxelHash",
          "layerNorm",
        ]),
      );
      // In place, or no computation.
      const others = ["adamwStep", "adjustExternalMemory", "assign", "emaUpdate", "free", "freeSlots", "toBytes"];
      expect([...calls.get(-1)!].filter((name) => !others.includes(name))).toEqual([]);
      trainer.dispose();
      policy.dispose();
    },
    240_000,
  );
});
