import { backward, cast, type DeviceName, type DType, mulberry32, tensor, type Tensor } from "@md/tensor";
import { FIRST } from "./measure/names.js";
import type { HostTensor } from "./peers/protocol.js";
import type { TargetId } from "./targets.js";

/** Prepares a computation on inputs that are in place; each call of the result computes it once. */
export type Bind = (inputs: readonly Tensor[]) => () => readonly Tensor[];

/** A number beside the times. */
export interface Metric {
  name: string;
  value: number;
  unit: string;
}

/** One computation, measured beside whoever else can do it. */
export interface BenchCase {
  name: string;
  /** Default none: `bind` brings its own. */
  inputs?: () => HostTensor[];
  bind: Bind;
  /** What peers call it; they get the same inputs and return the same outputs. Default: no peer. */
  peer?: { op: string; params?: Readonly<Record<string, number>> };
  /** Another way in our own library, measured in turn with it. */
  baseline?: { name: string; bind: Bind; sameResult: boolean };
  /** Floating-point operations of a run, two a multiply-add. */
  flops?: number;
  /** Bytes that a run has to read and to write. */
  bytes?: number;
  /** Of results against f64 and against peers, relative. Default 1e-4. */
  tolerance?: number;
  /** Default: 1 thread, and as many as are used at most. */
  threads?: "one" | "most";
  /** Takes twice the rounds there can be, however long they last: for a ratio that is held within a few percent. */
  patient?: boolean;
  /** A peer whose scaling with threads ours is held against, in rounds of the two alone. */
  scalesBeside?: string;
  /** Also told with which peers the case is measured. */
  metrics?: (peers: readonly string[]) => Metric[] | Promise<Metric[]>;
  /** A point of a curve over size. */
  curve?: { name: string; x: number };
  countsFor?: readonly TargetId[];
}

export interface Suite {
  name: string;
  cases: readonly BenchCase[];
}

/** Numbers on a device, floats in `dtype`. */
export const onDevice = (numbers: readonly HostTensor[], device: DeviceName, dtype: DType): Tensor[] =>
  numbers.map(({ data, shape }) => {
    const x = tensor(data, { shape, device });
    return x.dtype === "f32" ? cast(x, dtype) : x;
  });

/** The points of a curve, the others in turn with the first: how it grows does not depend on when each was measured. */
export function alongCurve(points: readonly BenchCase[]): BenchCase[] {
  const [first, ...others] = points;
  const bind: Bind = (inputs) => {
    const { dtype, device } = inputs.find((x) => x.dtype !== "i32")!;
    return first.bind(onDevice(first.inputs!(), device, dtype));
  };
  return [first, ...others.map((point) => ({ ...point, baseline: { name: FIRST, bind, sameResult: false } }))];
}

/** A `bind` for what keeps nothing from one run to the next. */
export const stateless =
  (run: (...inputs: Tensor[]) => Tensor | readonly Tensor[]): Bind =>
  (inputs) =>
  () =>
    [run(...inputs)].flat() as Tensor[];

/**
 * `forward` and its backward pass: outputs are forward's, then the gradients of the first `wanted` inputs for the
 * cotangent that is the last input.
 */
export const withGradients = (forward: (...inputs: Tensor[]) => Tensor, wanted: number): Bind =>
  stateless((...inputs) => {
    const gradient = inputs.pop()!;
    const leaves = inputs.map((x) => x.detach());
    for (const leaf of leaves.slice(0, wanted)) leaf.requiresGrad = true;
    const out = forward(...leaves);
    backward(out, { gradient });
    return [out, ...leaves.slice(0, wanted).map((leaf) => leaf.grad!)];
  });

/** Inputs of these shapes, of the seeds 1, 2, …. */
export const randomInputs = (shapes: readonly (readonly number[])[]) => (): HostTensor[] =>
  shapes.map((shape, i) => random(shape, i + 1));

/** Numbers of [-1, 1), the same for the same seed. */
export function random(shape: readonly number[], seed = 1): HostTensor {
  const draw = mulberry32(seed);
  const data = new Float32Array(shape.reduce((product, extent) => product * extent, 1));
  for (let i = 0; i < data.length; i++) data[i] = 2 * draw() - 1;
  return { shape, data };
}
