import { assign, noGrad, scope, tensor, zerosLike } from "@md/tensor";
import { describe, expect, it } from "vitest";
import { type Compat, type MiniDiffuser, type MiniDiffuserConfig } from "../../src/index.js";
import { makePolicy, small, surfaceBatch, timestepsOf } from "./small.js";

const batch = surfaceBatch(2, { points: 30 });

/** What a policy predicts at three positions of each scene; it takes the weights of `like` that it has. */
function predict(policy: MiniDiffuser, like: MiniDiffuser = policy): number[] {
  policy.loadStateDict(like.stateDict(), { strict: false });
  return noGrad(() =>
    scope(() => {
      const positions = tensor([0.1, 0, 0, 0.3, -0.2, 0.1, 0, 0, 0.1, -0.4, 0.2, 0, 0.2, 0, 0.1, 0, -0.1, 0], {
        shape: [2, 3, 3],
      });
      const timesteps = timestepsOf([10, 50, 90, 10, 50, 90]);
      return policy.eval().predict(policy.encode(batch), positions, timesteps).toFlatArray();
    }),
  );
}

const far = (a: readonly number[], b: readonly number[]): number =>
  Math.max(...a.map((value, i) => Math.abs(value - b[i]!)));

describe.each<Compat>(["none", "fixed", "released"])("with compat %s, what Table 3 leaves out", (compat) => {
  const make = (config: Partial<MiniDiffuserConfig>): MiniDiffuser => makePolicy({ ...small, compat, ...config });

  it("the rotary embedding: a scale of 0 is that of a scale that turns nothing", () => {
    const [turning, still, without] = [make({}), make({ ropeScale: 1e-9 }), make({ ropeScale: 0 })];
    expect([...without.stateDict().keys()]).toEqual([...turning.stateDict().keys()]);
    expect(far(predict(without, turning), predict(still, turning))).toBeLessThan(1e-5);
    expect(far(predict(without, turning), predict(turning))).toBeGreaterThan(1e-3);
    for (const policy of [turning, still, without]) policy.dispose();
  });

  it("the local query: without it is with one that answers 0", () => {
    const [whole, without] = [make({}), make({ localQuery: false })];
    const own = [...whole.stateDict().keys()];
    const rest = own.filter((name) => !/neck\.\d\.local\./.test(name));
    expect(rest.length).toBeLessThan(own.length);
    expect([...without.stateDict().keys()]).toEqual(rest);
    expect(without.stepFlops({ size: 1, pointsPerScene: 30, instructionTokens: 2 })).toBeLessThan(
      whole.stepFlops({ size: 1, pointsPerScene: 30, instructionTokens: 2 }),
    );
    const answering = predict(whole);
    for (const [name, value] of whole.stateDict())
      if (/local\..*norm\.(weight|bias)$/.test(name)) scope(() => assign(value, zerosLike(value)));
    const silent = predict(whole);
    expect(far(predict(without, whole), silent)).toBeLessThan(1e-6);
    expect(far(answering, silent)).toBeGreaterThan(1e-3);
    for (const policy of [whole, without]) policy.dispose();
  });
});
