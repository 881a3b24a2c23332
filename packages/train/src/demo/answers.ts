import type { Policy, Solver } from "@md/diffusion";
import type { InstructionEmbedding, ReachScene, Sphere, Vector3 } from "@md/rlbench-data";
import { withInstructions } from "../data.js";
import { batches, judge, type KeyPoseResult } from "../evaluate/evaluate.js";
import { aggregate, drawCandidates } from "../evaluate/predict.js";
import type { ScenesToJudge } from "./scenes.js";

/** What a policy answered to one scene. */
export interface SceneAnswer {
  scene: ReachScene;
  /** World frame, metres, [candidates, 3]. */
  candidates: Float32Array;
  /** The candidate where most others are near; see {@link densest}. */
  densest: Vector3;
  /** The median of the candidates, held against the demonstration. */
  median: KeyPoseResult;
}

export interface AnswerOptions {
  points: number;
  candidates: number;
  seed: number;
  /** Default: the policy's. */
  solver?: Solver;
  /** Denoising steps. Default: {@link DEMO_DENOISING_STEPS}. */
  steps?: number;
  /** Instruction of each scene. Default: its own. */
  instructions?: readonly InstructionEmbedding[];
}

/** With ten steps a fifth of the candidates of a scene with two right answers end between them, with fifty a twentieth. */
export const DEMO_DENOISING_STEPS = 50;

/** Within this many metres of a sphere's centre an answer is right. */
export const REACHED = 0.02;

/** Draws candidates for every scene. */
export async function answerScenes(
  policy: Policy,
  { dataset, scenes }: ScenesToJudge,
  options: AnswerOptions,
): Promise<SceneAnswer[]> {
  const { points, candidates, seed, instructions, solver, steps = DEMO_DENOISING_STEPS } = options;
  const answers: SceneAnswer[] = [];
  for await (const batch of batches(dataset, { points, seed })) {
    const first = answers.length;
    const asked = instructions ? withInstructions(batch, instructions.slice(first, first + batch.size)) : batch;
    const drawn = drawCandidates(policy, asked, { samples: candidates, solver, steps, seed: seed + first });
    const medians = aggregate(drawn);
    const stride = 3 * drawn.horizon;
    medians.forEach((median, b) => {
      const own = new Float32Array(3 * candidates);
      for (let c = 0; c < candidates; c++) {
        const at = (b * candidates + c) * stride;
        own.set(drawn.position.subarray(at, at + 3), 3 * c);
      }
      const scene = scenes[first + b]!;
      answers.push({ scene, candidates: own, densest: densest(own), median: judge(dataset, batch, b, median) });
    });
  }
  return answers;
}

const NEIGHBOURHOOD = 0.02;

/** The candidate with the highest density of candidates around it (a linear kernel of 2 cm): one of several modes. */
export function densest(candidates: Float32Array): Vector3 {
  let best: Vector3 = [NaN, NaN, NaN];
  let highest = -Infinity;
  for (let i = 0; i < candidates.length; i += 3) {
    const at: Vector3 = [candidates[i]!, candidates[i + 1]!, candidates[i + 2]!];
    let density = 0;
    for (let j = 0; j < candidates.length; j += 3) {
      density += Math.max(0, 1 - distance(at, candidates.subarray(j, j + 3)) / NEIGHBOURHOOD);
    }
    if (density > highest) [best, highest] = [at, density];
  }
  return best;
}

/** The spheres that an instruction with this colour may mean. */
export const spheresOf = ({ spheres }: ReachScene, color: string): Sphere[] =>
  spheres.filter((sphere) => sphere.color === color);

/** Metres to the nearest of the spheres' centres. */
export const distanceToNearest = (at: ArrayLike<number>, spheres: readonly Sphere[]): number =>
  Math.min(...spheres.map(({ position }) => distance(at, position)));

export const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.hypot(a[0]! - b[0]!, a[1]! - b[1]!, a[2]! - b[2]!);
