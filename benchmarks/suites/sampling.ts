import { DDIMScheduler, type EncodedScene, MiniDiffuserLight } from "@md/diffusion";
import { Generator, noGrad, randn, scope, tensor } from "@md/tensor";
import { paired, timed } from "../paired.js";
import { randomBatch } from "../scenes.js";
import type { Suite } from "../suite.js";

const steps = 10;
const candidates = 10;

/** Ten DDIM steps for ten candidates: the scene encoded once before, against encoded at every step. */
export const samplingSuite: Suite = {
  name: "sampling",
  cases: [
    {
      name: "one scene of 1024 points, 10 candidates, 10 steps",
      run() {
        const policy = new MiniDiffuserLight({}, { generator: new Generator(1) });
        const observation = randomBatch(1, 1024);
        const scheduler = new DDIMScheduler({
          numTrainTimesteps: 100,
          betaSchedule: "squaredcos_cap_v2",
          timestepSpacing: "trailing",
        });
        scheduler.setTimesteps(steps);
        const draw = (scene: () => EncodedScene): ArrayLike<number> =>
          scope(() => {
            let positions = randn([1, candidates, 1, 3], { generator: new Generator(3) });
            for (const timestep of scheduler.timesteps) {
              const predicted = policy.predict(
                scene(),
                positions,
                tensor(new BigInt64Array(candidates).fill(BigInt(timestep))),
              );
              positions = scheduler.step(predicted, timestep, positions).prevSample;
            }
            return positions.toFlatArray();
          });
        return noGrad(() =>
          scope(() => {
            const encoded = policy.encode(observation);
            const withCache = (): ArrayLike<number> => draw(() => encoded);
            const withoutCache = (): ArrayLike<number> => draw(() => policy.encode(observation));
            const expected = withoutCache();
            const difference = Math.max(...Array.from(withCache(), (value, i) => Math.abs(value - expected[i]!)));
            const speed = paired(
              () => timed(withoutCache),
              () => timed(withCache),
              { pairs: 30 },
            );
            return [
              {
                metric: "speed-up",
                value: speed.ratio,
                unit: "x",
                target: ">= 5",
                met: speed.ratio >= 5,
                note: `95% interval ${speed.low.toFixed(2)} to ${speed.high.toFixed(2)}, ${speed.medianA.toFixed(1)} against ${speed.medianB.toFixed(1)} ms`,
              },
              {
                metric: "largest difference",
                value: difference,
                unit: "",
                target: "0",
                met: difference === 0,
                note: "",
              },
            ];
          }),
        );
      },
    },
  ],
};
