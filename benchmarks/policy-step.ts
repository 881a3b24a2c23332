import { MiniDiffuser, type MiniDiffuserConfig, type Policy, type PolicyBatch } from "@md/diffusion";
import { backward, Generator, memory, resetPeakMemory, scope } from "@md/tensor";
import { AdamW } from "@md/train";

/** The policy of 17.6 million parameters. */
export const fullPolicy = (config: Partial<MiniDiffuserConfig>): MiniDiffuser =>
  new MiniDiffuser(config, { generator: new Generator(1) });

/** Training steps on one batch, AdamW included; `dispose` frees the policy and the optimiser's state. */
export interface PolicySteps {
  step(): void;
  dispose(): void;
}

export function policySteps(policy: Policy, batch: PolicyBatch): PolicySteps {
  const optimizer = new AdamW(policy.namedParameters(), { learningRate: 1e-4 });
  const generator = new Generator(2);
  return {
    step() {
      scope(() => {
        const { loss } = policy.loss(batch, generator);
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

/** Bytes that training steps of a policy hold at their peak: parameters, gradients, moments and activations. */
export function peakBytesOfSteps(create: () => Policy, batch: PolicyBatch): number {
  const before = memory().liveBytes;
  const steps = policySteps(create(), batch);
  steps.step();
  resetPeakMemory();
  steps.step();
  const { peakBytes } = memory();
  steps.dispose();
  return peakBytes - before;
}
