import { Generator, noGrad, randn, scope, ShapeError, tensor, type Tensor, ValueError } from "@md/tensor";
import { afterAll, describe, expect, it } from "vitest";
import type { PolicyBatch, SceneTensors } from "../../src/index.js";
import { makePolicy, randomItem, scenesOf, smallest, surfaceBatch, timestepsOf } from "./small.js";

const quietly = (body: () => void): void => noGrad(() => scope(body));

describe("state tokens", () => {
  const policy = makePolicy({ ...smallest, useProprio: true, maxSteps: 5 }).eval();
  afterAll(() => policy.dispose());
  const batch: PolicyBatch = { ...surfaceBatch(2, { points: 30, lengths: [2, 0] }), stepIds: Int32Array.of(1, 4) };
  const predict = (each: PolicyBatch): number[] =>
    policy
      .predict(policy.encode(each), randn([2, 2, 3], { generator: new Generator(4) }), timestepsOf([10, 50, 90, 20]))
      .toFlatArray();

  it("stand behind each item's own words", () => {
    quietly(() => {
      const { keys, level } = policy.encode(batch).encoded.memories[0]!;
      const points = level.cloud.counts;
      expect(keys.lengths).toEqual([points[0]! + 2 + 2, points[1]! + 0 + 2]);
    });
  });

  it.each(["proprio", "stepIds"] as const)("of %s reach the samples of their item alone", (field) => {
    quietly(() => {
      const changed = { ...batch, [field]: batch[field]!.slice() };
      if (field === "proprio") changed.proprio[8] = 0.7;
      else changed.stepIds![1] = 0;
      const [before, after] = [predict(batch), predict(changed)];
      expect(after.slice(0, 6)).toEqual(before.slice(0, 6));
      before.slice(6).forEach((value, i) => expect(after[6 + i]).not.toBe(value));
    });
  });

  it("are refused where they are absent, of another number or out of range", () => {
    const without = { ...batch, stepIds: undefined };
    expect(() => policy.encode(without)).toThrow(ValueError);
    expect(() => policy.encode(without)).toThrow("[MiniDiffuser] stepIds is absent, expected it with maxSteps");
    expect(() => policy.loss(without, new Generator(1))).toThrow("stepIds is absent");
    for (const wrong of [-1, 5]) {
      const stepIds = Int32Array.of(0, wrong);
      expect(() => policy.sample({ ...batch, stepIds }, { generator: new Generator(1) })).toThrow(ValueError);
      expect(() => policy.encode({ ...batch, stepIds })).toThrow(`stepIds has ${wrong}, expected 0 to 4 with maxSteps`);
    }
    for (const stepIds of [new Int32Array(1), new Int32Array(3), new Int32Array(0)]) {
      expect(() => policy.encode({ ...batch, stepIds })).toThrow(ShapeError);
      expect(() => policy.encode({ ...batch, stepIds })).toThrow(
        `stepIds has shape [${stepIds.length}], expected 2 rows`,
      );
    }
    scope(() => {
      const scenes: SceneTensors = { ...scenesOf([randomItem(10, 1, 1)], "f32"), stepIds: tensor(Int32Array.of(0)) };
      const gripper = (rows: number): Tensor => tensor(new Float32Array(10 * rows), { shape: [rows, 10] });
      expect(() => policy.network.encode(scenes)).toThrow("proprio is absent, expected it with useProprio");
      expect(() => policy.network.encode({ ...scenes, gripper: gripper(2) })).toThrow(ShapeError);
      expect(() => policy.network.encode({ ...scenes, gripper: gripper(1) })).not.toThrow();
    });
  });

  it("are not asked for, nor read, unless configured", () => {
    const plain = makePolicy(smallest).eval();
    quietly(() => {
      const read = (each: PolicyBatch): number[] => plain.encode(each).encoded.memories[0]!.keys.k.toFlatArray();
      const without = { ...batch, stepIds: undefined };
      const proprio = batch.proprio.map((value) => value + 0.1);
      expect(read({ ...without, proprio })).toEqual(read(batch));
      expect([...plain.namedParameters().keys()].filter((name) => /proprio|step/.test(name))).toEqual([]);
    });
    plain.dispose();
  });
});
