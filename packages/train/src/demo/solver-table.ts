import type { Policy, Solver } from "@md/diffusion";
import { percent } from "../evaluate/groups.js";
import { median } from "../evaluate/predict.js";
import { answerScenes, distanceToNearest, REACHED, spheresOf } from "./answers.js";
import type { ScenesToJudge } from "./scenes.js";

/** How far candidates are off with one solver and number of denoising steps. */
export interface SolverResult {
  solver: Solver;
  steps: number;
  /** Of candidates from the nearest sphere that they should reach, metres. */
  medianDistance: number;
  /** Share of candidates within 2 cm of it. */
  reached: number;
}

/** Error against solver and denoising steps. */
export interface SolverTable {
  scenes: number;
  /** A scene. */
  candidates: number;
  results: SolverResult[];
}

const STEPS = [100, 10, 4];
// A few scenes: with all of them the table would take as long as all other judgements together.
const SCENES = 16;
const CANDIDATES = 16;

/**
 * Draws candidates with every solver that fits the policy, at 100, 10 and 4 denoising steps; null for a policy that has
 * no choice of solvers.
 */
export async function compareSolversOnScenes(
  policy: Policy,
  { dataset, scenes }: ScenesToJudge,
  options: { points: number; seed: number },
): Promise<SolverTable | null> {
  if (!policy.solvers) return null;
  const samples = dataset.samples.slice(0, SCENES);
  const few = { dataset: { ...dataset, samples }, scenes: scenes.slice(0, SCENES) };
  const results: SolverResult[] = [];
  for (const solver of policy.solvers) {
    for (const steps of stepCounts(policy)) {
      const answers = await answerScenes(policy, few, { ...options, candidates: CANDIDATES, solver, steps });
      const distances = answers.flatMap(({ scene, candidates }) =>
        Array.from({ length: CANDIDATES }, (_, c) =>
          distanceToNearest(candidates.subarray(3 * c, 3 * c + 3), spheresOf(scene, scene.color)),
        ),
      );
      const reached = distances.filter((metres) => metres <= REACHED).length / distances.length;
      results.push({ solver, steps, medianDistance: median(distances), reached });
    }
  }
  return { scenes: samples.length, candidates: CANDIDATES, results };
}

// A policy that was trained on fewer timesteps has no more steps to take.
function stepCounts({ config: { numTrainTimesteps } }: Policy): number[] {
  return STEPS.filter((steps) => typeof numTrainTimesteps !== "number" || steps <= numTrainTimesteps);
}

/** What the table shows, in a sentence. */
export const solverCaption = ({ scenes, candidates }: SolverTable): string =>
  "Median distance in cm of a candidate from the nearest sphere of the named colour, and share of candidates within 2 cm, " +
  `by solver and denoising steps; over the first ${scenes} unseen scenes, ${candidates} candidates each:`;

/** Solvers by rows, denoising steps by columns. */
export function solverTable({ results }: SolverTable): { titles: string[]; rows: string[][] } {
  const counts = [...new Set(results.map(({ steps }) => steps))];
  const names = [...new Set(results.map(({ solver }) => solver))];
  const cell = ({ medianDistance, reached }: SolverResult): string =>
    `${(100 * medianDistance).toFixed(2)} (${percent(reached)})`;
  return {
    titles: ["solver", ...counts.map((steps) => `${steps} steps`)],
    rows: names.map((name) => [name, ...results.filter(({ solver }) => solver === name).map(cell)]),
  };
}
