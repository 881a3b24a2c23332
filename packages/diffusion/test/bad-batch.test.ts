import { DisposedError, Generator, memory, OutOfMemoryError, setMemoryLimit, ShapeError, ValueError } from "@md/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { ConfigKeyError, MiniDiffuserLight, type PolicyBatch, type SampleOptions } from "../src/index.js";
import { syntheticBatch } from "./synthetic-batch.js";

const make = (): MiniDiffuserLight =>
  new MiniDiffuserLight(
    { embedDim: 12, numHeads: 2, numLayers: 1, samples: 2, instructionDim: 6, positionFrequencies: 1 },
    { generator: new Generator(1) },
  );
const policy = make();
afterAll(() => policy.dispose());

const good = syntheticBatch(2, { points: 5 });
const generator = new Generator(2);
const sample = (changed: Partial<PolicyBatch>, options: Partial<SampleOptions> = {}): unknown =>
  policy.sample({ ...good, ...changed }, { generator, steps: 1, ...options });
const loss = (changed: Partial<PolicyBatch>): unknown => policy.loss({ ...good, ...changed }, generator);

const observed = ["points", "colors", "instruction", "proprio", "instructionLengths"] as const;
const targets = ["targetPosition", "targetRotationBins", "targetOpen"] as const;

describe("a batch", () => {
  for (const field of [...observed, ...targets]) {
    it(`with too few or too many numbers in ${field} is refused by name`, () => {
      const values = good[field];
      const Numbers = values.constructor as Float32ArrayConstructor;
      for (const wrong of [values.subarray(1), new Numbers(values.length + 1), new Numbers(0)]) {
        const changed = { [field]: wrong } as Partial<PolicyBatch>;
        expect(() => loss(changed)).toThrow(ShapeError);
        expect(() => loss(changed)).toThrow(`[MiniDiffuserLight] ${field} has ${wrong.length} numbers`);
        if (field.startsWith("target")) continue;
        expect(() => sample(changed)).toThrow(`[MiniDiffuserLight] ${field} has ${wrong.length} numbers`);
      }
    });
  }

  for (const field of [...observed, ...targets]) {
    it(`without ${field} is refused by name`, () => {
      const changed = { [field]: undefined } as Partial<PolicyBatch>;
      expect(() => loss(changed)).toThrow(ShapeError);
      expect(() => loss(changed)).toThrow(`[MiniDiffuserLight] ${field} is undefined, expected a typed array`);
    });
  }

  for (const field of ["points", "colors", "instruction", "proprio", "targetPosition", "targetOpen"] as const) {
    it(`with NaN or infinity in ${field} is refused by name`, () => {
      for (const wrong of [NaN, Infinity, -Infinity]) {
        const values = good[field].slice();
        values[1] = wrong;
        expect(() => loss({ [field]: values })).toThrow(ValueError);
        expect(() => loss({ [field]: values })).toThrow(`${field} has ${wrong} at item 1, expected finite numbers`);
        if (field.startsWith("target")) continue;
        expect(() => sample({ [field]: values })).toThrow(`${field} has ${wrong} at item 1`);
      }
    });
  }

  it("with counts that are none, or do not fit the policy, is refused by name", () => {
    for (const wrong of [0, -1, 1.5, NaN, Infinity]) {
      for (const field of ["size", "pointsPerScene"] as const) {
        expect(() => sample({ [field]: wrong })).toThrow(`${field} is ${wrong}, expected an integer of at least 1`);
      }
    }
    expect(() => sample({ instructionTokens: -1 })).toThrow(/instructionTokens is -1/);
    expect(() => sample({ instructionDim: 7 })).toThrow(/instructionDim is 7, expected 6/);
    for (const wrong of [-1, 4, 1.5]) {
      const instructionLengths = Float64Array.of(3, wrong) as unknown as Int32Array;
      expect(() => loss({ instructionLengths })).toThrow(
        `instructionLengths has ${wrong}, expected integers from 0 to 3`,
      );
    }
  });

  it("with a gripper's quaternion of zero is refused, and with one of another length is that of length 1", () => {
    const proprio = good.proprio.slice();
    proprio.fill(0, 8 + 3, 8 + 7);
    for (const act of [loss, sample]) {
      expect(() => act({ proprio })).toThrow(ValueError);
      expect(() => act({ proprio })).toThrow("proprio has [0, 0, 0, 0] as the quaternion of scene 1");
    }
    const turned = good.proprio.slice();
    turned.set([0.48, 0, 0, -0.64], 8 + 3);
    const longer = turned.slice();
    longer.set([0.96, 0, 0, -1.28], 8 + 3);
    const draw = (proprio: Float32Array): unknown => sample({ proprio }, { generator: new Generator(3) });
    expect(draw(longer)).toEqual(draw(turned));
    expect(draw(longer)).not.toEqual(draw(good.proprio));
  });

  it("with targets of another horizon is refused by the policy's option", () => {
    const longer = syntheticBatch(2, { points: 5, horizon: 3 });
    expect(() => policy.loss(longer, generator)).toThrow(ConfigKeyError);
    expect(() => policy.loss(longer, generator)).toThrow(/"horizon" is 1, expected 3, the target actions a scene/);
  });

  it("with targets out of range is refused by name", () => {
    for (const wrong of [-1, 72]) {
      const targetRotationBins = good.targetRotationBins.slice();
      targetRotationBins[3] = wrong;
      expect(() => loss({ targetRotationBins })).toThrow(`targetRotationBins has ${wrong} at item 3, expected 0 to 71`);
    }
    expect(() => loss({ targetOpen: Float32Array.of(1, 1.5) })).toThrow(/targetOpen has 1.5, expected 0 to 1/);
  });
});

describe("sampling", () => {
  it("refuses options that make no sense", () => {
    for (const candidates of [0, -1, 1.5, NaN]) {
      expect(() => sample({}, { candidates })).toThrow(
        `candidates is ${candidates}, expected an integer of at least 1`,
      );
    }
    for (const steps of [0, -1, 1.5, NaN, 101])
      expect(() => sample({}, { steps })).toThrow(/steps is .*, expected an integer from 1 to 100/);
    expect(() => sample({}, { solver: "euler" })).toThrow(/solver is "euler".*"epsilon", expected "ddim", "ddpm"/);
  });

  it("names an allocation that does not fit, frees what it had, and samples again", () => {
    const { liveBytes, limitBytes } = memory();
    setMemoryLimit(liveBytes + 2 ** 20);
    try {
      expect(() => sample({}, { candidates: 2 ** 16 })).toThrow(OutOfMemoryError);
      expect(memory().liveBytes).toBe(liveBytes);
    } finally {
      setMemoryLimit(limitBytes);
    }
    expect(sample({}, { candidates: 2 })).toMatchObject({ size: 2, candidates: 2 });
    expect(memory().liveBytes).toBe(liveBytes);
  });

  it("names a policy that was disposed", () => {
    const gone = make();
    gone.dispose();
    gone.dispose();
    expect(() => gone.sample(good, { generator })).toThrow(DisposedError);
    expect(() => gone.loss(good, generator)).toThrow(DisposedError);
  });
});
