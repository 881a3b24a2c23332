import { adamwStep, assign, cast, emaUpdate, globalNorm, type Tensor, zerosLike } from "@md/tensor";
import { type Bind, random, type Suite } from "../suite.js";

const rows = 288;
const count = 212; // matrices: 17.6 million parameters
const size = count * rows * rows;

const cut = (x: Tensor): Tensor[] =>
  Array.from({ length: count }, (_, i) => x.narrow(0, i * rows * rows, rows * rows).reshape([rows, rows]));

const copyOf = (x: Tensor): Tensor => {
  const copy = zerosLike(x);
  assign(copy, x);
  return copy;
};

/** The result of the first step, which is what is compared, is the parameters, flat. */
const steps: Bind = ([initial, grads]) => {
  const flat = copyOf(initial);
  const [parameters, gradients] = [cut(flat), cut(grads)];
  const [expAvgs, expAvgSqs] = [parameters.map(zerosLike), parameters.map(zerosLike)];
  let step = 0;
  return () => {
    step++;
    adamwStep(
      { parameters, grads: gradients, expAvgs, expAvgSqs },
      { lr: 1e-3, betas: [0.9, 0.98], eps: 1e-8, weightDecay: 0.01, step },
    );
    return [flat];
  };
};

const normOfGradients: Bind = ([flat]) => {
  const grads = cut(flat);
  return () => [cast(globalNorm(grads), "f32")];
};

const movingAverages: Bind = ([initial, parameters]) => {
  const flat = copyOf(initial);
  const [averages, tensors] = [cut(flat), cut(parameters)];
  return () => {
    emaUpdate(averages, tensors, 0.999);
    return [flat];
  };
};

/** Updates of parameters, and the norm that gradients are clipped by. */
export const optimizerSuite: Suite = {
  name: "optimizer",
  cases: [
    {
      name: "AdamW, 17.6 million parameters",
      inputs: () => [random([size], 1), random([size], 2)],
      bind: steps,
      peer: { op: "adamw", params: { rows, count } },
      // Reads parameter, gradient and both means, writes all but the gradient.
      bytes: 28 * size,
      tolerance: 1e-5,
      countsFor: ["adamw"],
    },
    {
      name: "norm of gradients, 17.6 million parameters",
      inputs: () => [random([size], 1)],
      bind: normOfGradients,
      peer: { op: "gradNorm", params: { rows, count } },
      bytes: 4 * size,
      countsFor: ["memory-bound"],
    },
    {
      name: "moving averages, 17.6 million parameters",
      inputs: () => [random([size], 1), random([size], 2)],
      bind: movingAverages,
      peer: { op: "movingAverages", params: { rows, count } },
      // Reads averages and parameters, writes averages.
      bytes: 12 * size,
      countsFor: ["memory-bound"],
    },
  ],
};
