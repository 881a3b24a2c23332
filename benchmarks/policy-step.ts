import { MiniDiffuser, type MiniDiffuserConfig, type Policy, type PolicyBatch } from "@md/diffusion";
import { autocast, backward, type DeviceName, Generator, memory, resetPeakMemory, scope } from "@md/tensor";
import { AdamW } from "@md/train";
import type { BenchDType } from "./options.js";
import type { Bind } from "./suite.js";

/** The policy of 17.6 million parameters. */
export const fullPolicy = (config: Partial<MiniDiffuserConfig>): MiniDiffuser =>
  new MiniDiffuser(config, { generator: new Generator(1) });

/** Where a policy lies, and what it computes in; by default the CPU, and f32. */
export interface Place {
  device?: DeviceName;
  dtype?: BenchDType;
}

/** Training steps on one batch, AdamW included; `dispose` frees the policy and the optimiser's state. */
export interface PolicySteps {
  step(): void;
  dispose(): void;
}

export function policySteps(
  made: Policy,
  batch: PolicyBatch,
  { device = "cpu", dtype = "f32" }: Place = {},
): PolicySteps {
  const policy = made.to(device);
  const optimizer = new AdamW(policy.namedParameters(), { learningRate: 1e-4 });
  const generator = new Generator(2);
  return {
    step() {
      scope(() => {
        const { loss } = autocast(dtype, () => policy.loss(batch, generator));
        backward(loss);
        optimizer.step();
        policy.zeroGrad();
      });
    },
    dispose() {
      optimizer.dispose();
      policy.dispose();
    },
  };
}

/** Binds steps of a policy; frees those that were bound before, which may be gigabytes. */
export function stepsOf(create: () => PolicySteps): Bind {
  let last: PolicySteps | undefined;
  return () => {
    last?.dispose();
    const bound = (last = create());
    return () => {
      bound.step();
      return [];
    };
  };
}

/** Bytes that training steps of a policy hold at their peak: parameters, gradients, moments and activations. */
export function peakBytesOfSteps(create: () => Policy, batch: PolicyBatch, place: Place = {}): number {
  const before = memory(place.device).liveBytes;
  const steps = policySteps(create(), batch, place);
  steps.step();
  resetPeakMemory(place.device);
  steps.step();
  const { peakBytes } = memory(place.device);
  steps.dispose();
  return peakBytes - before;
}
