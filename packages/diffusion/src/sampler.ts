import { type DeviceName, type Generator, randn, scope, type Tensor, ValueError } from "@md/tensor";
import type { NoiseProcess, ObjectiveName } from "./objective.js";
import {
  DDIMScheduler,
  DDPMScheduler,
  DPMSolverMultistepScheduler,
  FlowMatchEulerDiscreteScheduler,
  FlowMatchHeunDiscreteScheduler,
  type NoiseSource,
  type SchedulerConfig,
  type StepResult,
} from "./schedulers/index.js";

/** Solvers of what was trained on noise, sample or v; DPM-Solver++ without a number is of order 2. */
const diffusionSolvers = [
  "ddim",
  "ddpm",
  "dpmsolver++1",
  "dpmsolver++",
  "dpmsolver++3",
  "sde-dpmsolver++1",
  "sde-dpmsolver++",
  "sde-dpmsolver++3",
] as const;
/** Solvers of what was trained on flow. */
const flowSolvers = ["euler", "heun"] as const;

/** How samples are drawn, whatever the number of steps. */
export const solvers = [...diffusionSolvers, ...flowSolvers] as const;
export type Solver = (typeof solvers)[number];

/** Solvers that fit an objective, the default first. */
export const solversFor = (objective: ObjectiveName): readonly Solver[] =>
  objective === "flow_prediction" ? flowSolvers : diffusionSolvers;

/** A solver, the shift of its timesteps or their number, that does not fit what a policy was trained on. */
export class SolverError extends ValueError {}

/** What a caller of a policy may choose of sampling. */
export interface SolverOptions {
  /** Default "ddim", or "euler" for a policy trained on flow. */
  solver?: Solver;
  /** Default 10, for "ddpm" all training timesteps. */
  steps?: number;
  /** Of "euler" and "heun": over 1 puts more of the steps where there is more noise. Default 1. */
  shift?: number;
}

/** One sampling run: the network is evaluated at each of `timesteps` in turn, and `step` takes its output. */
export interface Sampler {
  /** In the units of training's timesteps; reals under flow. */
  readonly timesteps: readonly number[];
  step(modelOutput: Tensor, timestep: number, sample: Tensor, source: NoiseSource): StepResult;
  /** Frees what is remembered for a next step. */
  reset?(): void;
}

/**
 * The scheduler for one sampling run.
 *
 * @param owner name of the policy, for messages
 * @throws SolverError for a solver, shift or number of steps that does not fit the policy; ValueError for a shift out of
 *   range
 */
export function createSampler(owner: string, process: NoiseProcess, options: SolverOptions): Sampler {
  const { predictionType, numTrainTimesteps, ...config } = process;
  const fitting = solversFor(predictionType);
  const { solver = fitting[0]!, shift } = options;
  if (!fitting.includes(solver)) {
    const found = `[${owner}] solver is "${String(solver)}", which does not fit a policy trained on "${predictionType}"`;
    throw new SolverError(`${found}, expected ${fitting.map((name) => `"${name}"`).join(", ")}`);
  }
  const steps = options.steps ?? (solver === "ddpm" ? numTrainTimesteps : Math.min(10, numTrainTimesteps));
  if (!(Number.isInteger(steps) && steps >= 1 && steps <= numTrainTimesteps)) {
    throw new SolverError(`[${owner}] steps is ${steps}, expected an integer from 1 to ${numTrainTimesteps}`);
  }
  if (predictionType === "flow_prediction")
    return createFlowSampler(solver === "heun" ? "heun" : "euler", { numTrainTimesteps, shift }, steps);
  if (shift !== undefined) {
    throw new SolverError(`[${owner}] shift is ${shift}, which does not fit "${solver}", expected none`);
  }
  const scheduler = createDiffusionScheduler(solver, { ...config, numTrainTimesteps, predictionType });
  scheduler.setTimesteps(steps);
  return scheduler;
}

/**
 * Draws x of `shape` from pure noise to the end of a run, freeing all else.
 *
 * @param predict the network's output for x at a timestep, like x but for the dtype, which autocast may lower; what it needs of the scene is computed before
 * @param options.record takes the noise, then x after every evaluation of the network
 * @param options.initNoiseSigma standard deviation of the noise that it starts from. Default 1
 * @param options.device where x lies; the noise is the same on every device. Default "cpu"
 */
export function runSampler(
  sampler: Sampler,
  shape: readonly number[],
  predict: (x: Tensor, timestep: number) => Tensor,
  options: { generator: Generator; record?: (x: Tensor) => unknown; initNoiseSigma?: number; device?: DeviceName },
): Tensor {
  const { generator, record, initNoiseSigma = 1, device } = options;
  let x = scope(() => randn(shape, { generator, device }).mul(initNoiseSigma));
  record?.(x);
  try {
    for (const timestep of sampler.timesteps) {
      const next = scope(() => sampler.step(predict(x, timestep).to(x.dtype), timestep, x, { generator }).prevSample);
      x.dispose();
      x = next;
      record?.(x);
    }
  } finally {
    sampler.reset?.();
  }
  return x;
}

// Even steps from 1 to 0: diffusers' own end with a step that is as short as training's.
function createFlowSampler(
  solver: (typeof flowSolvers)[number],
  config: { numTrainTimesteps: number; shift: number | undefined },
  steps: number,
): Sampler {
  const Scheduler = solver === "heun" ? FlowMatchHeunDiscreteScheduler : FlowMatchEulerDiscreteScheduler;
  const scheduler = new Scheduler(config);
  scheduler.setSigmas(Array.from({ length: steps }, (_, i) => 1 - i / steps));
  return scheduler;
}

function createDiffusionScheduler(
  solver: Solver,
  config: Partial<SchedulerConfig>,
): DDPMScheduler | DDIMScheduler | DPMSolverMultistepScheduler {
  if (solver === "ddpm") return new DDPMScheduler(config);
  if (solver === "ddim") return new DDIMScheduler(config);
  return new DPMSolverMultistepScheduler({
    ...config,
    // The leading spacing leaves timestep 0 out, so it could not take all K of them.
    timestepSpacing: "trailing",
    algorithmType: solver.startsWith("sde-") ? "sde-dpmsolver++" : "dpmsolver++",
    solverOrder: Number(/\d$/.exec(solver)?.[0] ?? 2),
  });
}
