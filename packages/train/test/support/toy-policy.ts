import {
  type ActionSample,
  createSampler,
  type Observation,
  type Policy,
  type PolicyBatch,
  type PolicyFactory,
  type SampleOptions,
} from "@md/diffusion";
import { Linear, Module } from "@md/nn";
import { type Generator, mean, mseLoss, noGrad, randn, scope, tensor, type Tensor } from "@md/tensor";

/** Answers with a linear function of the mean point, and noise. */
class ToyPolicy extends Module implements Policy {
  private readonly linear: Linear;

  constructor(
    readonly config: Readonly<Record<string, unknown>>,
    generator: Generator,
  ) {
    super();
    this.linear = new Linear(3, 3, { generator });
  }

  private answer({ size, points, pointsPerScene }: Observation): Tensor {
    const cloud = tensor(points, { shape: [size, pointsPerScene, 3], device: this.device });
    return this.linear.forward(mean(cloud, { dim: 1 }));
  }

  loss(batch: PolicyBatch, generator: Generator): { loss: Tensor; parts: Record<string, Tensor> } {
    const { device } = this;
    const noise = randn([batch.size, 3], { generator, device }).mul(this.config["noise"] as number);
    const target = tensor(batch.targetPosition, { shape: [batch.size, 3], device });
    const position = mseLoss(this.answer(batch).add(noise), target);
    return { loss: position, parts: { position } };
  }

  sample(observation: Observation, { candidates = 1, generator, ...options }: SampleOptions): ActionSample {
    createSampler("toy", { predictionType: "epsilon", numTrainTimesteps: 100 }, options);
    return noGrad(() =>
      scope(() => {
        const { size } = observation;
        const noise = randn([size, candidates, 3], { generator, device: this.device }).mul(0.001);
        const position = this.answer(observation).reshape([size, 1, 3]).add(noise);
        return {
          size,
          candidates,
          horizon: 1,
          position: position.data() as Float32Array,
          rotationBins: new Int32Array(size * candidates * 3).fill(36),
          open: new Float32Array(size * candidates).fill(1),
        };
      }),
    );
  }

  stepFlops({ size }: Pick<PolicyBatch, "size">): number {
    return 54 * size;
  }
}

const toyPolicy: PolicyFactory = {
  name: "toy",
  defaults: { noise: 0.01, betaSchedule: "linear", numTrainTimesteps: 100 },
  create: (options, _statistics, generator) => new ToyPolicy(options, generator),
  fromConfig: (config, generator) => new ToyPolicy(config, generator),
};
export default toyPolicy;
