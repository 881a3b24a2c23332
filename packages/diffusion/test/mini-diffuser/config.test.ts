import { Generator, noGrad, randn, scope, ValueError } from "@md/tensor";
import { describe, expect, it } from "vitest";
import { ConfigKeyError, getPolicy, MiniDiffuser, type MiniDiffuserConfig } from "../../src/index.js";
import { makePolicy, small, smallest, surfaceBatch, timestepsOf } from "./small.js";

const make = (config: object): MiniDiffuser => new MiniDiffuser(config, { generator: new Generator(1) });
const refusal = (config: object): unknown => {
  try {
    make(config).dispose();
  } catch (error) {
    return error;
  }
  return expect.fail("nothing was thrown");
};

describe("a configuration", () => {
  it("with an unknown key is refused with the nearest known one", () => {
    expect(() => make({ encChanels: [12, 24] })).toThrow(ValueError);
    expect(() => make({ encChanels: [12, 24] })).toThrow(
      /unknown config key "encChanels"; the nearest is "encChannels"/,
    );
    for (const wrong of [null, 3, []]) expect(() => make(wrong as object)).toThrow(/expected an object/);
  });

  it.each<[key: string, config: object, problem: string]>([
    ["encChannels", { encChannels: [12], decChannels: [] }, "decChannels"],
    ["encChannels", { encChannels: [12] }, "has 1 entry, expected 2 or more"],
    ["encNumHeads", { encNumHeads: [2] }, "has 1 entries, expected 2 for 2 stages"],
    ["encDepths", { encDepths: [1, 1, 1] }, "has 3 entries, expected 2 for 2 stages"],
    ["decChannels", { decChannels: [24, 24] }, "has 2 entries, expected 1 for 2 stages"],
    ["decNumHeads", { decNumHeads: [2, 2] }, "has 2 entries, expected 1 for 2 stages"],
    ["decDepths", { decDepths: [1, 1] }, "has 2 entries, expected 1 for 2 stages"],
    ["encNumHeads", { encNumHeads: [2, 5] }, "has 5 for 24 channels, expected a divisor"],
    ["decNumHeads", { decNumHeads: [7] }, "has 7 for 24 channels, expected a divisor"],
    ["decNumHeads", { decNumHeads: [6] }, "leaves 4 channels a head of action tokens, expected 6 or more"],
    ["contextDim", { contextDim: 15 }, "is 15, expected an even number"],
    ["compat", { compat: "both" }, '"none", "fixed", "released"'],
    ["encChannels", { encChannels: [12, 0] }, "expected an array of integers from 1 to 65536"],
    ["dropPath", { dropPath: 1 }, "is 1, expected a number of at least 0 and below 1"],
    ["patchSize", { patchSize: 0 }, "is 0, expected an integer from 1"],
    ["voxelSize", { voxelSize: 0 }, "is 0, expected a number above 0"],
    ["maxSteps", { maxSteps: -1 }, "is -1, expected an integer from 0"],
    ["positionLoss", { positionLoss: "huber" }, '"auto", "l1", "l2"'],
    ["predictionType", { predictionType: "noise" }, '"epsilon"'],
    ["positionBounds", { positionBounds: { min: [0, 0, 0], max: [1, 0, 1] } }, "min below max"],
    ["samples", { samples: NaN }, "is NaN, expected an integer from 1"],
    ["poseJitter", { poseJitter: Infinity }, "is Infinity, expected a finite number of at least 0"],
    ["ropeScale", { ropeScale: -1 }, "is -1, expected a finite number of at least 0"],
    ["localQuery", { localQuery: "no" }, 'is "no", expected true or false'],
  ])("with a wrong %s is refused by that key: %j", (key, config, problem) => {
    const error = refusal({ ...smallest, ...config }) as ConfigKeyError;
    expect(error).toBeInstanceOf(ConfigKeyError);
    if (problem === "decChannels") return expect(error.key).toBe("decChannels");
    expect(error.key).toBe(key);
    expect(error.message).toContain(problem);
    expect(error.message).toContain("[MiniDiffuser]");
  });

  it("resolves auto by compat, and keeps what is named", () => {
    const resolved = (config: Partial<MiniDiffuserConfig>): object => {
      const policy = make({ ...smallest, ...config });
      const { betaSchedule, positionLoss } = policy.config;
      policy.dispose();
      return { betaSchedule, positionLoss };
    };
    const own = { betaSchedule: "squaredcos_cap_v2", positionLoss: "l2" };
    const theirs = { betaSchedule: "scaled_linear", positionLoss: "l1" };
    expect(resolved({})).toEqual(own);
    expect(resolved({ compat: "fixed" })).toEqual(theirs);
    expect(resolved({ compat: "released" })).toEqual(theirs);
    expect(resolved({ compat: "fixed", positionLoss: "l2", betaSchedule: "linear" })).toEqual({
      betaSchedule: "linear",
      positionLoss: "l2",
    });
    expect(resolved({ positionLoss: "l1" })).toEqual({ ...own, positionLoss: "l1" });
  });

  it("leaves no signal at the last step by default, and that of the release with compat", () => {
    const signal = (config: Partial<MiniDiffuserConfig>): number => {
      const policy = make({ ...smallest, ...config });
      const { remainingSignal } = policy;
      policy.dispose();
      return remainingSignal;
    };
    expect(signal({})).toBeLessThan(0.01);
    expect(signal({ compat: "fixed" })).toBeCloseTo(0.7, 1);
    expect(signal({ predictionType: "flow_prediction" })).toBe(0);
  });

  it("through JSON, with a state dict, rebuilds the policy to the bit", () => {
    const factory = getPolicy("mini-diffuser");
    for (const extra of [{}, { compat: "released", useProprio: true }, { maxSteps: 3, dropPath: 0.1 }] as const) {
      const policy = makePolicy({ ...small, ...extra }, { seed: 3 });
      const config = JSON.parse(JSON.stringify(policy.config)) as Record<string, unknown>;
      const again = factory.fromConfig(config, new Generator(99)) as MiniDiffuser;
      expect(again.config).toEqual(policy.config);
      expect(again.loadStateDict(policy.stateDict())).toEqual({ missing: [], unexpected: [] });
      const batch = { ...surfaceBatch(2), stepIds: Int32Array.of(0, 2) };
      const draw = (each: MiniDiffuser): unknown =>
        each.eval().sample(batch, { steps: 3, generator: new Generator(7) });
      expect(draw(again)).toEqual(draw(policy));
      policy.dispose();
      again.dispose();
    }
  });

  it("of a run names options with defaults, and takes the rest from the data", () => {
    const factory = getPolicy("mini-diffuser");
    expect(factory.defaults).not.toHaveProperty("instructionDim");
    expect(factory.defaults).toMatchObject({ compat: "none", samples: 64, encChannels: [36, 72, 144, 192, 384] });
    const { positionBounds, instructionDim, ...options } = smallest;
    const policy = factory.create(options, { positionBounds, instructionDim }, new Generator(1));
    expect(policy.config).toMatchObject({ positionBounds, instructionDim });
    (policy as MiniDiffuser).dispose();
  });

  it("of two seeds makes two policies, of one seed one", () => {
    noGrad(() =>
      scope(() => {
        const predict = (seed: number): number[] => {
          const policy = new MiniDiffuser(small, { generator: new Generator(seed) }).eval();
          const scene = policy.encode(surfaceBatch(1));
          const positions = randn([1, 2, 3], { generator: new Generator(1) });
          const out = policy.predict(scene, positions, timestepsOf([1, 2])).toFlatArray();
          policy.dispose();
          return out;
        };
        expect(predict(1)).toEqual(predict(1));
        expect(predict(1)).not.toEqual(predict(2));
      }),
    );
  });
});
