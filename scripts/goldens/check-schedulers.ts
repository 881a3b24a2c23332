import {
  DDIMScheduler,
  DDPMScheduler,
  DPMSolverMultistepScheduler,
  FlowMatchEulerDiscreteScheduler,
  FlowMatchHeunDiscreteScheduler,
} from "@md/diffusion";
import { add, mul, narrow, scope, squeeze, tanh, type Tensor, tensor } from "@md/tensor";
import { compare, FORWARD } from "./compare.js";
import { type GoldenFile, listsObjectsWith, load, metadata } from "./golden-file.js";
import { emptyReport, type GoldenReport, runCase } from "./report.js";

interface SchedulerCase {
  id: number | string;
  kind: string;
  config: Record<string, unknown>;
  steps: number;
  step_kwargs: Record<string, unknown>;
}

/** Whether the file is a table of schedulers with their sampling loops. */
export const isSchedulers = (golden: GoldenFile): boolean => listsObjectsWith(golden, "cases", "kind");

// Kinds of cases; their configurations are those of diffusers.
const kinds = {
  ddpm: DDPMScheduler,
  ddim: DDIMScheduler,
  dpmsolver: DPMSolverMultistepScheduler,
  flow_euler: FlowMatchEulerDiscreteScheduler,
  flow_heun: FlowMatchHeunDiscreteScheduler,
};

const isKind = (kind: string): kind is keyof typeof kinds => Object.hasOwn(kinds, kind);

/** Holds schedulers against the file, in float64; cases of other kinds are pending. */
export function checkSchedulers(golden: GoldenFile): GoldenReport {
  const report = emptyReport();
  for (const schedulerCase of metadata(golden, "cases") as SchedulerCase[]) {
    const { id, kind } = schedulerCase;
    if (isKind(kind)) {
      runCase(report, `${id} ${kind}`, () => scope(() => checkScheduler(golden, kind, schedulerCase)));
    } else {
      report.pending++;
      report.messages.push(`${id} ${kind}: pending, no such scheduler`);
    }
  }
  return report;
}

function checkScheduler(
  golden: GoldenFile,
  kind: keyof typeof kinds,
  { id, config, steps, step_kwargs: options }: SchedulerCase,
): void {
  const scheduler = kinds[kind].fromDiffusers(config);
  const { eta, ...others } = options as { eta?: number };
  if (Object.keys(others).length > 0) throw new Error(`unknown step_kwargs ${JSON.stringify(others)}`);
  const f64 = (name: string): Tensor => load(golden, `${id}.${name}`, "f64");

  if ("alphasCumprod" in scheduler) compare(golden, `${id}.alphas_cumprod`, tensor(scheduler.alphasCumprod), FORWARD);
  if (golden.arrays.has(`${id}.add_noise.out`)) {
    const noised = scheduler.addNoise(f64("add_noise.x0"), f64("add_noise.eps"), f64("add_noise.t"));
    compare(golden, `${id}.add_noise.out`, noised, FORWARD);
  }

  scheduler.setTimesteps(steps);
  compare(golden, `${id}.timesteps`, tensor(scheduler.timesteps), FORWARD);
  if ("sigmas" in scheduler) compare(golden, `${id}.sigmas`, tensor(scheduler.sigmas), FORWARD);
  const stepNoise = f64("step_noise");
  const positions: Tensor[] = [];
  let sample = f64("x_init");
  scheduler.timesteps.forEach((timestep, k) => {
    const modelOutput = mul(tanh(add(mul(sample, 1.3), 0.01 * timestep)), 0.7);
    const noise = squeeze(narrow(stepNoise, 0, k, 1), 0);
    sample = scheduler.step(modelOutput, timestep, sample, { noise, eta }).prevSample;
    positions.push(sample);
  });
  const trajectory = new Float64Array(positions.flatMap((position) => position.toFlatArray()));
  compare(golden, `${id}.trajectory`, tensor(trajectory, { shape: [positions.length, ...sample.shape] }), FORWARD);
}
