import {
  add,
  detach,
  DTypeError,
  type Generator,
  mul,
  noGrad,
  randn,
  scope,
  ShapeError,
  type Tensor,
  ValueError,
} from "@md/tensor";

/** Where a step takes its noise from: a tensor like the sample, or a generator to draw it with. */
export type NoiseSource = { noise?: Tensor; generator?: undefined } | { noise?: undefined; generator?: Generator };

export interface StepResult {
  /** x at the timestep before, like the sample. */
  prevSample: Tensor;
  /** The clean sample that this step expects, clipped if the config says so. */
  predOriginalSample: Tensor;
}

/** Runs one step without gradients, freeing all but its result. ShapeError, DTypeError unless `modelOutput` is like `sample`. */
export function runStep(op: string, modelOutput: Tensor, sample: Tensor, body: () => StepResult): StepResult {
  checkAlike(op, "modelOutput", modelOutput, sample);
  return noGrad(() => scope(body));
}

/** The same values for later steps: outlives scopes and the tensor it was made from, until it is disposed. */
export const remember = (x: Tensor): Tensor => detach(x).keep();

/** a·x + b·y */
export const combine = (a: number, x: Tensor, b: number, y: Tensor): Tensor => add(mul(x, a), mul(y, b));

/** Noise like `sample` from its source; ValueError where there is none. */
export function stepNoise(op: string, sample: Tensor, { noise, generator }: NoiseSource): Tensor {
  if (noise && generator) throw new ValueError(`[${op}] found noise and generator, expected one of them`);
  if (noise) {
    checkAlike(op, "noise", noise, sample);
    return noise;
  }
  if (!generator) throw new ValueError(`[${op}] this step draws noise: expected generator or noise`);
  return randn(sample.shape, { dtype: sample.dtype, device: sample.device, generator });
}

/** ShapeError, DTypeError unless `x` has the shape and dtype of `sample`, f32 or f64. */
export function checkAlike(op: string, name: string, x: Tensor, sample: Tensor): void {
  if (String(x.shape) !== String(sample.shape)) {
    throw new ShapeError(`[${op}] ${name} has shape [${x.shape}], expected [${sample.shape}]`);
  }
  if (x.dtype !== sample.dtype || (x.dtype !== "f32" && x.dtype !== "f64")) {
    throw new DTypeError(`[${op}] ${name} is ${x.dtype} and the sample ${sample.dtype}, expected both f32 or both f64`);
  }
}

/** Place of a timestep among those visited; ValueError where it is none of them. */
export function visitedIndex(op: string, visited: readonly number[], timestep: number): number {
  const index = visited.indexOf(timestep);
  if (index >= 0) return index;
  throw new ValueError(`[${op}] timestep ${timestep} is not among the ${visited.length} timesteps of setTimesteps`);
}
