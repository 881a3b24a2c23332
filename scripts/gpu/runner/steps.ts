import { join } from "node:path";
import type { BenchDType } from "../../../benchmarks/options.js";
import { benchmark, type BenchmarkOptions } from "./benchmark.js";
import { doctor } from "./doctor.js";
import { checkGoldens } from "./goldens.js";
import { checkOpCases, raceCases } from "./op-cases.js";
import type { Outcome } from "./outcome.js";
import { sizesHere } from "./sizes.js";
import { checkTraining } from "./training.js";

const DEVICE = "cuda:0";

/** What runs in a process of its own, by name. */
export async function runStep(name: string, stage: string, outcome: Outcome): Promise<void> {
  const sizes = sizesHere();
  const torchPeer = join(stage, "peers", "torch_peer.py");
  const time = (what: BenchmarkOptions["what"], dtype: BenchDType, compile = false) =>
    benchmark({ device: DEVICE, dtype, compile, what, sizes, torchPeer }, outcome);
  const steps: Record<string, () => void | Promise<void>> = {
    doctor: () => doctor(outcome),
    "op-cases": () => checkOpCases(DEVICE, sizes.opCases, outcome),
    "race-op-cases": () => checkOpCases(DEVICE, raceCases(sizes.opCases), outcome),
    goldens: () => checkGoldens(DEVICE, join(stage, "goldens"), outcome),
    "policy-bf16": () => time("policy", "bf16"),
    "policy-bf16-compiled": () => time("policy", "bf16", true),
    "policy-f32": () => time("policy", "f32"),
    "policy-f32-compiled": () => time("policy", "f32", true),
    "kernels-bf16": () => time("kernels", "bf16"),
    "kernels-f32": () => time("kernels", "f32"),
    training: () => checkTraining(DEVICE, sizes.trainingSteps, outcome),
  };
  const step = Object.hasOwn(steps, name) ? steps[name] : undefined;
  if (!step) throw new Error(`found step "${name}", expected one of ${Object.keys(steps).join(", ")}`);
  await step();
}
