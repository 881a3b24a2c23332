// A training step on an emulated device whose kernels fault (MD_EMULATED_FAULT), and what goes on after it, as JSON.
import { CudaGraph, type Device, Generator, scope, synchronize, TensorError, zeros } from "@md/tensor";
import { AdamW } from "../../src/optim/adamw.js";
import { gradNorm } from "../../src/optim/clip-grad-norm.js";
import { batchOf, smallActor } from "../support/small-actor.js";

const device = "cuda:0";

function errorOf(body: () => unknown): { type: string; message: string } | null {
  try {
    body();
    return null;
  } catch (error) {
    if (!(error instanceof TensorError)) throw error;
    return { type: error.name, message: error.message };
  }
}

function trainingStep(where: Device): number {
  const policy = smallActor().to(where);
  const optimizer = new AdamW(policy.namedParameters());
  return scope(() => {
    const { loss } = policy.loss(batchOf(1), new Generator(2));
    loss.backward();
    gradNorm(policy.parameters()).item();
    optimizer.step();
    return loss.item();
  });
}

const x = zeros([3], { device });
const graph = CudaGraph.capture(device, () => x.add(1));
const step = errorOf(() => trainingStep(device));
const later = [
  errorOf(() => x.add(1)),
  errorOf(() => x.data()),
  errorOf(() => graph.replay()),
  errorOf(() => CudaGraph.capture(device, () => x.add(1))),
  errorOf(() => synchronize(device)),
];
graph.dispose();
x.dispose();
console.log(JSON.stringify({ step, later, cpu: trainingStep("cpu") }));
