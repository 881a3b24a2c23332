import {
  type ActorStep,
  assignStep,
  type DiffuserActor,
  MiniDiffuser,
  MiniDiffuserLight,
  type PolicyBatch,
} from "@md/diffusion";
import { assign, CudaGraph, cudaInfo, full, Generator, scope, ShapeError, type Tensor, ValueError } from "@md/tensor";
import { describe, expect, it } from "vitest";
import { AdamW, type AdamWOptions } from "../../src/optim/adamw.js";
import { clipFactor, clipFactorOf, gradNorm } from "../../src/optim/clip-grad-norm.js";
import { batchOf, smallActor } from "../support/small-actor.js";

const device = "cuda:0";
const maxNorm = 0.5;
const options: AdamWOptions = { betas: [0.9, 0.98], weightDecay: 0.1 };
/** Of each step. */
const learningRates = [1e-2, 5e-3, 2e-2, 1e-3];

const makeActor = (): DiffuserActor => smallActor().to(device);

/** Loss, its parts, norm of the gradients, parameters and moments after each step, as bits. */
type Steps = unknown[][];
const numbers = (tensors: Iterable<Tensor>): unknown[] => [...tensors].map((x) => [...x.data()]);

/** As `Trainer` does it: numbers of the host. */
function stepByStep(): Steps {
  const policy = makeActor();
  const optimizer = new AdamW(policy.namedParameters(), options);
  const generator = new Generator(7);
  const steps = learningRates.map((learningRate, i) =>
    scope(() => {
      const { loss, parts } = policy.loss(batchOf(i), generator);
      loss.backward();
      const norm = gradNorm(policy.parameters());
      optimizer.step(learningRate, clipFactor(norm.item(), maxNorm));
      policy.zeroGrad();
      return numbers([loss, ...Object.values(parts), norm, ...policy.parameters(), ...optimizer.stateDict().values()]);
    }),
  );
  optimizer.dispose();
  policy.dispose();
  return steps;
}

/** A training step of which batch, noise and learning rate lie on the device. */
interface OwnStep {
  policy: DiffuserActor;
  optimizer: AdamW;
  learningRate: Tensor;
  inputs: ActorStep;
  run(): { loss: Tensor; parts: Record<string, Tensor>; norm: Tensor };
}

function makeStep(batch: PolicyBatch, generator: Generator): OwnStep {
  const policy = makeActor();
  const optimizer = new AdamW(policy.namedParameters(), { ...options, capturable: true });
  const learningRate = full([], learningRates[0]!, { dtype: "f64", device });
  const inputs = policy.prepare(batch, generator);
  const run: OwnStep["run"] = () => {
    const { loss, parts } = policy.lossOf(inputs);
    loss.backward();
    const norm = gradNorm(policy.parameters());
    optimizer.step(learningRate, clipFactorOf(norm, maxNorm));
    policy.zeroGrad();
    return { loss, parts, norm };
  };
  return { policy, optimizer, learningRate, inputs, run };
}

const setRate = ({ learningRate }: OwnStep, value: number): void =>
  scope(() => assign(learningRate, full([], value, { dtype: "f64", device })));

describe.skipIf(cudaInfo().devices.length === 0)("a training step in a graph", () => {
  it("gives the bits of the loop without one, under a learning rate that changes", () => {
    const found = scope(() => {
      const generator = new Generator(7);
      const step = makeStep(batchOf(0), generator);
      const { policy, optimizer, inputs } = step;
      const state = ({ loss, parts, norm }: ReturnType<OwnStep["run"]>): unknown[] =>
        numbers([
          ...[loss, ...Object.values(parts), norm],
          ...[...policy.parameters(), ...optimizer.stateDict().values()],
        ]);
      // The first one loads all that the graph needs.
      const first = scope(() => state(step.run()));
      const graph = CudaGraph.capture(device, step.run);
      const others = learningRates.slice(1).map((learningRate, i) =>
        scope(() => {
          assignStep(inputs, policy.prepare(batchOf(i + 1), generator));
          setRate(step, learningRate);
          graph.replay();
          return state(graph.result);
        }),
      );
      optimizer.dispose();
      policy.dispose();
      return [first, ...others];
    });
    const expected = stepByStep();
    expect(expected[0]).not.toEqual(expected[1]);
    expect(found).toEqual(expected);
  }, 240_000);

  it("refuses a batch of other sizes, and changes nothing for a norm or a learning rate that is not finite", () => {
    scope(() => {
      const step = makeStep(batchOf(0), new Generator(7));
      const { policy, optimizer, inputs } = step;
      const graph = CudaGraph.capture(device, step.run);
      const other = (sizes: Parameters<typeof batchOf>[1]): ActorStep =>
        policy.prepare(batchOf(0, sizes), new Generator(1));
      expect(() => assignStep(inputs, other({ points: 8 }))).toThrow(ShapeError);
      expect(() => assignStep(inputs, other({ lengths: [3, 2] }))).toThrow(ValueError);

      const state = (): unknown[] => numbers([...policy.parameters(), ...optimizer.stateDict().values()]);
      const before = state();
      setRate(step, Infinity);
      graph.replay();
      expect(() => graph.result.loss.item()).toThrow("[adamwStep] learning rate is not finite: nothing was changed");
      setRate(step, 1e-2);
      assign(inputs.noisy, full(inputs.noisy.shape, NaN, { device }));
      graph.replay();
      expect(() => graph.result.loss.item()).toThrow("[adamwStep] gradient scale is not finite: nothing was changed");
      expect(graph.result.norm.item()).toBeNaN();
      expect(state()).toEqual(before);

      assignStep(inputs, policy.prepare(batchOf(0), new Generator(1)));
      graph.replay();
      expect(graph.result.loss.item()).toBeGreaterThan(0);
      expect(state()).not.toEqual(before);
      optimizer.dispose();
      policy.dispose();
    });
  }, 240_000);

  it("is no part of a graph where its sizes come from the data, or its numbers from the host", () => {
    const light = { embedDim: 12, numHeads: 2, numLayers: 1, samples: 2, instructionDim: 6 };
    const mini = {
      ...{ encChannels: [8, 12], encNumHeads: [2, 2], encDepths: [1, 1] },
      ...{ decChannels: [12], decNumHeads: [2], decDepths: [1] },
      ...{ patchSize: 8, contextDim: 8, samples: 2, instructionDim: 6 },
    };
    const batch = batchOf(0);
    const policies = [
      new MiniDiffuserLight(light, { generator: new Generator(1) }),
      new MiniDiffuser(mini, { generator: new Generator(1) }),
    ];
    for (const policy of policies) {
      policy.to(device);
      expect(() => CudaGraph.capture(device, () => policy.encode(batch))).toThrow("[voxelHash]");
      policy.dispose();
    }
    const actor = makeActor();
    const loss = (): unknown => actor.loss(batch, new Generator(1)).loss.backward();
    expect(() => CudaGraph.capture(device, loss)).toThrow("[randint]");
    actor.dispose();
    scope(() => {
      const policy = makeActor();
      const optimizer = new AdamW(policy.namedParameters(), options);
      const inputs = policy.prepare(batchOf(0), new Generator(1));
      const step = (): unknown =>
        CudaGraph.capture(device, () => {
          policy.lossOf(inputs).loss.backward();
          optimizer.step();
        });
      expect(step).toThrow("[adamwStep]");
      expect(optimizer.stateDict().get("step")!.item()).toBe(0);
      optimizer.dispose();
      policy.dispose();
    });
  });
});

describe("a capturable AdamW", () => {
  it("is the same optimiser on the CPU, and its state loads into the other", () => {
    scope(() => {
      const run = (capturable: boolean, given?: Parameters<AdamW["loadStateDict"]>[0]): unknown[] => {
        const policy = smallActor();
        const optimizer = new AdamW(policy.namedParameters(), { ...options, capturable });
        if (given) optimizer.loadStateDict(given);
        for (const parameter of policy.parameters()) parameter.grad = parameter.mul(2).keep();
        const scalar = (value: number): number | Tensor => (capturable ? full([], value, { dtype: "f64" }) : value);
        for (const learningRate of learningRates) optimizer.step(scalar(learningRate), scalar(0.25));
        const state = optimizer.stateDict();
        states.push(new Map([...state].map(([name, x]) => [name, x.mul(1)])));
        const found = numbers([...policy.parameters(), ...state.values()]);
        optimizer.dispose();
        policy.dispose();
        return found;
      };
      const states: Map<string, Tensor>[] = [];
      expect(run(true)).toEqual(run(false));
      expect(run(true, states[1])).toEqual(run(false, states[0]));
      expect(states[2]!.get("step")!.item()).toBe(2 * learningRates.length);
    });
  });
});
