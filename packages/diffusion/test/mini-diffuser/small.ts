import type { StateDict } from "@md/nn";
import { assign, Generator, mulberry32, noGrad, scope, tensor, type Tensor } from "@md/tensor";
import { MiniDiffuser, type MiniDiffuserConfig, type PolicyBatch, type SceneTensors } from "../../src/index.js";
import { syntheticBatch } from "../synthetic-batch.js";

/** Three levels, heads of 6 to 12 channels, two blocks in the middle. */
export const small = {
  encChannels: [12, 24, 24],
  encNumHeads: [2, 2, 4],
  encDepths: [1, 2, 1],
  decChannels: [24, 12],
  decNumHeads: [2, 2],
  decDepths: [2, 1],
  patchSize: 16,
  contextDim: 16,
  voxelSize: 0.1,
  ropeScale: 3,
  samples: 3,
  numTrainTimesteps: 100,
  instructionDim: 6,
  positionBounds: { min: [-0.6, -0.5, -0.7], max: [0.5, 0.6, 0.4] },
} satisfies Partial<MiniDiffuserConfig>;

/** Two levels of one block. */
export const smallest = {
  ...small,
  encChannels: [12, 24],
  encNumHeads: [2, 2],
  encDepths: [1, 1],
  decChannels: [24],
  decNumHeads: [2],
  decDepths: [1],
} satisfies Partial<MiniDiffuserConfig>;

/** Uniform on ±scale. */
export function uniform(length: number, scale: number, seed: number): number[] {
  const draw = mulberry32(seed);
  return Array.from({ length }, () => scale * (2 * draw() - 1));
}

/** A policy whose parameters and batch statistics are all away from where they start, so that none is without effect. */
export function makePolicy(
  config: Partial<MiniDiffuserConfig> = small,
  { dtype = "f32", seed = 1 }: { dtype?: "f32" | "f64"; seed?: number } = {},
): MiniDiffuser {
  const policy = new MiniDiffuser(config, { generator: new Generator(seed), dtype });
  noGrad(() => scope(() => stir(policy.stateDict())));
  return policy;
}

function stir(state: StateDict): void {
  [...state].forEach(([name, value], i) => {
    if (value.dtype === "i64") return;
    const noise = tensor(uniform(value.size, 0.3, 100 + i), { shape: value.shape, dtype: value.dtype });
    // A variance stays above 0, and a product of many weights near what it was.
    if (value.rank === 1) assign(value, name.endsWith("running_var") ? noise.add(1) : value.add(noise));
  });
}

/** Scenes of a surface rather than of a full cube: most points have neighbours. */
export function surfaceBatch(size: number, options: Parameters<typeof syntheticBatch>[1] = {}): PolicyBatch {
  const batch = syntheticBatch(size, { points: 60, ...options });
  const points = batch.points.map((value, i) => (i % 3 === 2 ? 0.1 * value : value));
  return { ...batch, points, targetPosition: batch.targetPosition.map((value) => 0.6 * value) };
}

/** One scene as arrays. */
export interface Item {
  /** [P][3], metres from the centre. */
  points: number[][];
  /** [P][7] */
  features: number[][];
  /** [T][instructionDim], T possibly 0. */
  words: number[][];
}

export function randomItem(points: number, words: number, seed: number): Item {
  const at = uniform(3 * points, 0.4, seed);
  const more = uniform(4 * points, 1, seed + 1);
  const text = uniform(6 * words, 1, seed + 2);
  const rows = (values: number[], width: number): number[][] =>
    Array.from({ length: values.length / width }, (_, i) => values.slice(width * i, width * (i + 1)));
  const positions = rows(at, 3).map(([x, y, z]) => [x!, y!, 0.3 * z!]);
  return {
    points: positions,
    features: rows(more, 4).map((rest, i) => [...positions[i]!, ...rest]),
    words: rows(text, 6),
  };
}

/** Items side by side, as the network takes them. */
export function scenesOf(items: readonly Item[], dtype: "f32" | "f64"): SceneTensors {
  const table = (rows: readonly number[][], width: number): Tensor =>
    tensor(rows.flat(), { shape: [rows.length, width], dtype });
  const offsets = new Int32Array(items.length + 1);
  items.forEach(({ words }, i) => (offsets[i + 1] = offsets[i]! + words.length));
  return {
    coordinates: table(
      items.flatMap(({ points }) => points),
      3,
    ),
    features: table(
      items.flatMap(({ features }) => features),
      7,
    ),
    counts: items.map(({ points }) => points.length),
    words: {
      tokens: table(
        items.flatMap(({ words }) => words),
        6,
      ),
      offsets,
    },
  };
}

/** Timesteps as the network takes them. */
export const timestepsOf = (steps: readonly number[]): Tensor => tensor(BigInt64Array.from(steps, BigInt));

/** One step of gradient descent. */
export function descend(parameters: readonly Tensor[], rate: number): void {
  noGrad(() =>
    scope(() => {
      for (const p of parameters) if (p.grad) assign(p, p.sub(p.grad.mul(rate)));
    }),
  );
}
