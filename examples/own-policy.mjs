// A policy of one's own: a mean-pooled point encoder and a denoising MLP, trained with Level-2 batching.
// minidiff train --model examples/own-policy.mjs --data DEMOS --task TASK --out RUN
import { DDIMScheduler, drawLevel2 } from "@md/diffusion";
import { MLP, Module, TimestepEmbedding } from "@md/nn";
import { cat, mean, mseLoss, noGrad, randn, scope, tensor } from "@md/tensor";

class PooledPolicy extends Module {
  constructor({ width = 64, samples = 32, instructionDim }, generator) {
    super();
    this.config = { width, samples, instructionDim };
    this.point = new MLP([6, width, width], { generator });
    this.time = new TimestepEmbedding(width, width, { generator });
    this.head = new MLP([3 + 2 * width + instructionDim, 4 * width, 4 * width, 3], { generator });
    this.scheduler = new DDIMScheduler({ numTrainTimesteps: 100, betaSchedule: "squaredcos_cap_v2" });
  }
  encode({ size: B, pointsPerScene: N, instructionTokens: T, instructionDim: D, points, colors, instruction }) {
    const { device } = this;
    const [xyz, rgb] = [points, colors].map((values) => tensor(values, { shape: [B, N, 3], device }));
    const scene = cat([xyz, rgb], -1);
    const words = mean(tensor(instruction, { shape: [B, T, D], device }), { dim: 1 });
    return cat([mean(this.point.forward(scene), { dim: 1 }), words], -1);
  }
  predict(context, noisy, timesteps) {
    return this.head.forward(cat([noisy, this.time.forward(timesteps.to(this.device)), context], -1));
  }
  loss(batch, generator) {
    const { device } = this;
    const { samples } = this.config;
    const draws = drawLevel2({ batchSize: batch.size, samples, numTrainTimesteps: 100, shape: [3], generator, device });
    const clean = draws.repeat(tensor(batch.targetPosition, { shape: [batch.size, 3], device }));
    const noisy = this.scheduler.addNoise(clean, draws.noise, draws.timesteps);
    const noise = mseLoss(this.predict(draws.repeat(this.encode(batch)), noisy, draws.timesteps), draws.noise);
    return { loss: noise, parts: { noise } };
  }
  sample(observation, { candidates = 1, steps = 10, generator }) {
    const poses = observation.size * candidates;
    const draw = () => {
      const each = this.encode(observation).unsqueeze(1);
      const context = each.expand([-1, candidates, -1]).flatten(0, 1);
      let x = randn([poses, 3], { generator, device: this.device });
      this.scheduler.setTimesteps(steps);
      for (const t of this.scheduler.timesteps) {
        const predicted = this.predict(context, x, tensor(new BigInt64Array(poses).fill(BigInt(t))));
        x = this.scheduler.step(predicted, t, x).prevSample;
      }
      return x.data();
    };
    const position = noGrad(() => scope(draw));
    const pose = { rotationBins: new Int32Array(poses * 3).fill(36), open: new Float32Array(poses).fill(1) };
    return { size: observation.size, candidates, horizon: 1, position, ...pose };
  }
  stepFlops = ({ size }) => 6 * size * this.config.samples * this.numParameters;
}

export default {
  name: "pooled",
  defaults: { width: 64, samples: 32 },
  create: (options, { instructionDim }, generator) => new PooledPolicy({ ...options, instructionDim }, generator),
  fromConfig: (config, generator) => new PooledPolicy(config, generator),
};
