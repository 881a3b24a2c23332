import { assign, noGrad, scope, tensor, type Tensor } from "@md/tensor";
import { expect, it } from "vitest";
import type { MiniDiffuserConfig } from "../../src/index.js";
import { makePolicy, randomItem, scenesOf, smallest, timestepsOf, uniform } from "./small.js";

const STEP = 1e-6;

/** Every parameter's gradient of the loss against central differences along random directions, in f64 and in training. */
function checkGradients(config: Partial<MiniDiffuserConfig>): void {
  const policy = makePolicy({ ...smallest, ...config }, { dtype: "f64" }).train();
  scope(() => {
    const samples = 3;
    const dense = (values: number[], width = 3): Tensor =>
      tensor(values, { shape: [values.length / width, width], dtype: "f64" });
    const scenes = {
      ...scenesOf([randomItem(20, 3, 10), randomItem(30, 1, 20)], "f64"),
      gripper: dense(uniform(20, 0.5, 30), 10),
      stepIds: tensor(Int32Array.of(2, 0)),
    };
    const targets = {
      positions: dense(uniform(6, 0.2, 31)),
      rotationBins: tensor(Int32Array.of(3, 0, 71, 20, 30, 40), { shape: [2, 3] }),
      open: tensor([1, 0], { dtype: "f64" }),
    };
    const level2 = {
      size: 2 * samples,
      timesteps: timestepsOf([3, 40, 80, 99, 10, 60]),
      noise: dense(uniform(6 * samples, 1, 32)),
      repeat: (x: Tensor): Tensor => x.unsqueeze(1).expand([2, samples, 3]).reshape([-1, 3]),
      meanLoss: (x: Tensor): Tensor => x,
    };
    const draws = { level2, jitter: dense(uniform(6, 0.01, 33)) };
    const loss = (): Tensor => policy.lossOf(scenes, new Float32Array(6), targets, draws).loss;
    loss().backward();
    [...policy.namedParameters()].forEach(([name, parameter], i) => {
      const { grad, shape, size } = parameter;
      expect(grad, `${name} gets a gradient`).not.toBeNull();
      const direction = uniform(size, 1, 200 + i);
      const analytic = grad!.toFlatArray().reduce((sum, value, j) => sum + value * direction[j]!, 0);
      const values = parameter.toFlatArray();
      const at = (delta: number): number =>
        noGrad(() =>
          scope(() => {
            const moved = values.map((value, j) => value + delta * direction[j]!);
            assign(parameter, tensor(moved, { shape, dtype: "f64" }));
            return loss().item();
          }),
        );
      const numeric = (at(STEP) - at(-STEP)) / (2 * STEP);
      assign(parameter, tensor(values, { shape, dtype: "f64" }));
      expect(Math.abs(analytic - numeric), `${name}: ${analytic} and ${numeric}`).toBeLessThan(
        1e-7 + 1e-6 * Math.abs(numeric),
      );
    });
  });
  policy.dispose();
}

it("every parameter has the gradient of the loss, state tokens included", () => {
  checkGradients({ useProprio: true, maxSteps: 4 });
});

it.each(["fixed", "released"] as const)("so it does with compat %s", (compat) => {
  // Their L1 has kinks, which finite steps may cross.
  checkGradients({ compat, positionLoss: "l2" });
});
