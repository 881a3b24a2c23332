import { DDIMScheduler, DDPMScheduler } from "@md/diffusion";
import { add, mul, narrow, scope, squeeze, tanh, type Tensor, tensor } from "@md/tensor";
import { compare, FORWARD } from "./compare.js";
import { array, type GoldenFile, listsObjectsWith, load, metadata } from "./golden-file.js";
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

/** Holds DDPM and DDIM against the file, in float64; cases of other kinds are pending. */
export function checkSchedulers(golden: GoldenFile): GoldenReport {
  const report = emptyReport();
  for (const schedulerCase of metadata(golden, "cases") as SchedulerCase[]) {
    const { id, kind } = schedulerCase;
    if (kind === "ddpm" || kind === "ddim") {
      runCase(report, `${id} ${kind}`, () => scope(() => checkScheduler(golden, schedulerCase)));
    } else {
      report.pending++;
      report.messages.push(`${id} ${kind}: pending, no such scheduler`);
    }
  }
  return report;
}

function checkScheduler(golden: GoldenFile, { id, kind, config, steps, step_kwargs: options }: SchedulerCase): void {
  const scheduler = kind === "ddpm" ? DDPMScheduler.fromDiffusers(config) : DDIMScheduler.fromDiffusers(config);
  const { eta, ...others } = options as { eta?: number };
  if (Object.keys(others).length > 0) throw new Error(`unknown step_kwargs ${JSON.stringify(others)}`);
  const f64 = (name: string): Tensor => load(golden, `${id}.${name}`, "f64");

  compare(golden, `${id}.alphas_cumprod`, tensor(scheduler.alphasCumprod), FORWARD);
  const noised = scheduler.addNoise(f64("add_noise.x0"), f64("add_noise.eps"), f64("add_noise.t"));
  compare(golden, `${id}.add_noise.out`, noised, FORWARD);

  scheduler.setTimesteps(steps);
  compareTimesteps(scheduler.timesteps, array(golden, `${id}.timesteps`).data);
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
  compare(golden, `${id}.trajectory`, tensor(trajectory, { shape: [steps, ...sample.shape] }), FORWARD);
}

function compareTimesteps(found: readonly number[], data: ArrayLike<number | bigint>): void {
  const expected = Array.from(data, Number);
  if (String(found) !== String(expected)) throw new Error(`timesteps are ${found}, expected ${expected}`);
}
