import { MiniDiffuserLight } from "@md/diffusion";
import { Generator, memory, resetPeakMemory, scope } from "@md/tensor";
import { paired, timed } from "../paired.js";
import type { Row, Suite } from "../suite.js";
import { randomBatch } from "../scenes.js";

const cases = [
  { size: 2, points: 4000, time: 1.063, bytes: 1.022 },
  { size: 8, points: 1024, time: 1.15, bytes: 1.09 },
];

/** Cost of M = 64 noised actions a scene against M = 1 (Table 3 of the paper): a training step without the optimiser. */
export const level2Suite: Suite = {
  name: "level2",
  cases: cases.map(({ size, points, time, bytes }) => ({
    name: `M=64 against M=1, ${size} scenes of ${points} points`,
    run(): Row[] {
      const batch = randomBatch(size, points);
      const many = stepper(64, batch);
      const one = stepper(1, batch);
      const steps = paired(many.step, one.step, { pairs: 30 });
      const peak = many.peak() / one.peak();
      const flops = many.flops / one.flops;
      return [
        {
          metric: "step time",
          value: steps.ratio,
          unit: "x",
          target: `<= ${time}`,
          met: steps.ratio <= time,
          note: `95% interval ${steps.low.toFixed(3)} to ${steps.high.toFixed(3)}, ${steps.medianA.toFixed(0)} against ${steps.medianB.toFixed(0)} ms, ${steps.pairs} pairs, counted FLOP ${flops.toFixed(3)}`,
        },
        {
          metric: "peak bytes",
          value: peak,
          unit: "x",
          target: `<= ${bytes}`,
          met: peak <= bytes,
          note: `${(many.peak() / 1e6).toFixed(0)} against ${(one.peak() / 1e6).toFixed(0)} MB`,
        },
      ];
    },
  })),
};

function stepper(
  samples: number,
  batch: ReturnType<typeof randomBatch>,
): { step: () => number; peak: () => number; flops: number } {
  const policy = new MiniDiffuserLight({ samples }, { generator: new Generator(1) });
  const generator = new Generator(2);
  const step = (): void =>
    scope(() => {
      policy.loss(batch, generator).loss.backward();
      policy.zeroGrad();
    });
  return {
    step: () => timed(step),
    peak: () => {
      resetPeakMemory();
      step();
      return memory().peakBytes;
    },
    flops: policy.stepFlops(batch),
  };
}
