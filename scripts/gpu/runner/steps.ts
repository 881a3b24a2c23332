import { join } from "node:path";
import type { OpCase } from "@md/tensor";
import { opCases } from "../../../packages/tensor/test/op-cases/index.js";
import { benchmark } from "./benchmark.js";
import { doctor } from "./doctor.js";
import { checkGoldens } from "./goldens.js";
import { checkOpCases } from "./op-cases.js";
import type { Outcome } from "./outcome.js";
import { checkTraining } from "./training.js";

const DEVICE = "cuda:0";
// Kernels with shared memory and barriers: what a race detector is for. A few, for it slows them a hundredfold.
const cooperative = /^(sum|argmax|softmax|layerNorm|crossEntropy|matmul|maskedAttention: (level2|varlen))/;
const FEW = 12;

export const raceCases = (all: readonly OpCase[]): OpCase[] =>
  all.filter(({ name }) => cooperative.test(name)).slice(0, FEW);

/** What runs in a process of its own, by name. */
export async function runStep(name: string, stage: string, outcome: Outcome): Promise<void> {
  const steps: Record<string, () => void | Promise<void>> = {
    doctor: () => doctor(outcome),
    "op-cases": () => checkOpCases(DEVICE, opCases, outcome),
    "race-op-cases": () => checkOpCases(DEVICE, raceCases(opCases), outcome),
    goldens: () => checkGoldens(DEVICE, join(stage, "goldens"), outcome),
    benchmark: () => benchmark(DEVICE, join(stage, "peers", "torch_peer.py"), outcome),
    training: () => checkTraining(DEVICE, outcome),
  };
  const step = Object.hasOwn(steps, name) ? steps[name] : undefined;
  if (!step) throw new Error(`found step "${name}", expected one of ${Object.keys(steps).join(", ")}`);
  await step();
}
