import { DDIMScheduler, type EncodedScene, MiniDiffuser, MiniDiffuserLight } from "@md/diffusion";
import { Generator, noGrad, randn, scope, tensor, type Tensor } from "@md/tensor";
import { randomBatch, surfaceBatch } from "../scenes.js";
import type { BenchCase, Bind, Suite } from "../suite.js";
import type { TargetId } from "../targets.js";

const steps = 10;
const candidates = 10;

/** Candidates after ten DDIM steps; `encodeOnce` or at every step. */
const sampler =
  (encodeOnce: boolean): Bind =>
  () => {
    const policy = new MiniDiffuserLight({}, { generator: new Generator(1) });
    const observation = randomBatch(1, 1024);
    const scheduler = new DDIMScheduler({
      numTrainTimesteps: 100,
      betaSchedule: "squaredcos_cap_v2",
      timestepSpacing: "trailing",
    });
    scheduler.setTimesteps(steps);
    const encoded = noGrad(() => policy.encode(observation));
    const scene = (): EncodedScene => (encodeOnce ? encoded : policy.encode(observation));
    return (): Tensor[] =>
      noGrad(() => {
        let positions = randn([1, candidates, 1, 3], { generator: new Generator(3) });
        for (const timestep of scheduler.timesteps) {
          positions = scope(() => {
            const timesteps = tensor(new BigInt64Array(candidates).fill(BigInt(timestep)));
            return scheduler.step(policy.predict(scene(), positions, timesteps), timestep, positions).prevSample;
          });
        }
        return [positions];
      });
  };

/** The full policy in one scene: all of `sample`, or its encoding alone. */
function fullSampling(
  compat: "none" | "fixed",
  solver: "ddpm" | "ddim",
  count: number,
  countsFor: readonly TargetId[],
): BenchCase {
  let made: MiniDiffuser | undefined;
  const observation = surfaceBatch(1, 4000);
  const policy = (): MiniDiffuser => (made ??= new MiniDiffuser({ compat }, { generator: new Generator(1) }).eval());
  return {
    name: `full Mini-Diffuser, compat ${compat}, one scene of 4000 points, ${count} ${solver.toUpperCase()} steps`,
    bind: () => () => {
      const { position } = policy().sample(observation, { solver, steps: count, generator: new Generator(3) });
      return [tensor(position)];
    },
    baseline: {
      name: "scene encoded alone",
      bind: () => () => noGrad(() => [policy().encode(observation).encoded.scene]),
      sameResult: false,
    },
    threads: "most",
    countsFor,
  };
}

/** Ten DDIM steps for ten candidates: the scene encoded once before, against encoded at every step. */
export const samplingSuite: Suite = {
  name: "sampling",
  cases: [
    {
      name: "one scene of 1024 points, 10 candidates, 10 steps",
      bind: sampler(true),
      baseline: { name: "scene encoded at every step", bind: sampler(false), sameResult: true },
      tolerance: 0,
      threads: "most",
      countsFor: ["sampling"],
    },
    ...(["none", "fixed"] as const).flatMap((compat) => [
      fullSampling(compat, "ddpm", 100, ["full-sampling-100"]),
      fullSampling(compat, "ddim", 10, ["full-sampling-10"]),
    ]),
  ],
};
