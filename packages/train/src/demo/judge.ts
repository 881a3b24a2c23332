import type { Policy } from "@md/diffusion";
import {
  CounterRandom,
  hashedWordEncoder,
  type InstructionEncoder,
  type KeyPoseDataset,
  type ReachScene,
} from "@md/rlbench-data";
import { constantAnswer } from "../evaluate/baselines.js";
import { batches } from "../evaluate/evaluate.js";
import { median } from "../evaluate/predict.js";
import { answerScenes, distance, distanceToNearest, REACHED, type SceneAnswer, spheresOf } from "./answers.js";
import type { ScenesToJudge } from "./scenes.js";

/** Within this many metres a candidate counts for a sphere of an ambiguous scene. */
const NEAR = 0.03;
export const CANDIDATES = 32;

/** One way of answering all scenes. */
export interface AnswerRow {
  name: string;
  /** Share of scenes within 2 cm of the (nearest) sphere that it should reach. */
  reached: number;
  /** Median distance, metres. */
  medianDistance: number;
}

/** How scenes with two spheres of the named colour are answered. */
export interface AmbiguousScenes {
  count: number;
  /** Means over the scenes of the candidates' shares: near the sphere with fewer, with more, and far from both. */
  nearLess: number;
  nearMore: number;
  far: number;
  /** Share of scenes with at least a quarter near each sphere and less than a tenth far from both. */
  answeredWithBoth: number;
}

/** What a demo found. */
export interface Judgement {
  scenes: number;
  candidates: number;
  /** Answers of the policy. */
  policy: AnswerRow[];
  /** Answers that must be worse. */
  controls: AnswerRow[];
  /** Another sphere of the same scene is named, and all else left. */
  otherSphere: AnswerRow;
  ambiguous: AmbiguousScenes | null;
}

/** Judges a policy on unseen scenes, beside answers that must fail. */
export async function judgeScenes(
  policy: Policy,
  unseen: ScenesToJudge,
  training: KeyPoseDataset,
  options: { points: number; instructionDim: number; seed: number },
): Promise<{ judgement: Judgement; answers: SceneAnswer[] }> {
  const { points, instructionDim, seed } = options;
  const { dataset, scenes } = unseen;
  const encoder = hashedWordEncoder(instructionDim);
  const drawing = { points, candidates: CANDIDATES, seed };
  const answers = await answerScenes(policy, unseen, drawing);
  const named = (scene: ReachScene): ReturnType<typeof spheresOf> => spheresOf(scene, scene.color);
  const row = (name: string, place: (answer: SceneAnswer, i: number) => ArrayLike<number>, from = answers): AnswerRow =>
    rowOf(
      name,
      from.map((answer, i) => distanceToNearest(place(answer, i), named(answer.scene))),
    );

  const constant = constantAnswer(training);
  const means: ArrayLike<number>[] = [];
  for await (const batch of batches(dataset, { points, seed })) {
    for (let b = 0; b < batch.size; b++) means.push(constant(batch, b).position);
  }
  const random = new CounterRandom(seed, [0, 0, 0]);
  const shuffled = await answerScenes(policy, unseen, {
    ...drawing,
    instructions: scenes.map((_, i) => encoder.encode(otherInstruction(scenes, i))),
  });
  return {
    answers,
    judgement: {
      scenes: scenes.length,
      candidates: CANDIDATES,
      policy: [
        row(`policy, densest of ${CANDIDATES} candidates`, ({ densest }) => densest),
        row("policy, one candidate", ({ candidates }) => candidates),
        row(`policy, median of ${CANDIDATES} candidates`, ({ median: { prediction } }) => prediction.position),
      ],
      controls: [
        row("mean position of the training targets", (_, i) => means[i]!),
        row("a random sphere", ({ scene }) => scene.spheres[random.below(scene.spheres.length)]!.position),
        row("policy, instruction of another scene", ({ densest }) => densest, shuffled),
      ],
      otherSphere: await nameOtherSpheres(policy, unseen, drawing, encoder),
      ambiguous: judgeAmbiguous(answers.filter(({ scene }) => scene.ambiguous)),
    },
  };
}

function rowOf(name: string, distances: readonly number[]): AnswerRow {
  const reached = distances.filter((metres) => metres <= REACHED).length / distances.length;
  return { name, reached, medianDistance: median(distances) };
}

// The instruction of the next scene that names another colour, whether this scene has that colour or not.
function otherInstruction(scenes: readonly ReachScene[], i: number): string {
  const following = scenes.map((_, k) => scenes[(i + 1 + k) % scenes.length]!);
  return (following.find(({ color }) => color !== scenes[i]!.color) ?? scenes[i]!).instruction;
}

// Names, in every scene, the first sphere whose colour is another one and unique.
async function nameOtherSpheres(
  policy: Policy,
  { dataset, scenes }: ScenesToJudge,
  drawing: { points: number; candidates: number; seed: number },
  encoder: InstructionEncoder,
): Promise<AnswerRow> {
  const others = scenes.map((scene) =>
    scene.spheres.find(({ color }) => color !== scene.color && spheresOf(scene, color).length === 1),
  );
  const chosen = scenes.map((_, i) => i).filter((i) => others[i] !== undefined);
  const subset = {
    dataset: { ...dataset, samples: chosen.map((i) => dataset.samples[i]!) },
    scenes: chosen.map((i) => scenes[i]!),
  };
  const instructions = chosen.map((i) => {
    const { instruction, color } = scenes[i]!;
    return encoder.encode(instruction.replace(color, others[i]!.color));
  });
  const answers = await answerScenes(policy, subset, { ...drawing, instructions });
  return rowOf(
    "policy, another sphere of the scene named",
    answers.map(({ densest }, k) => distance(densest, others[chosen[k]!]!.position)),
  );
}

function judgeAmbiguous(answers: readonly SceneAnswer[]): AmbiguousScenes | null {
  if (answers.length === 0) return null;
  const shares = answers.map(({ scene, candidates }) => {
    const [a, b] = spheresOf(scene, scene.color);
    let [nearA, nearB] = [0, 0];
    for (let at = 0; at < candidates.length; at += 3) {
      const candidate = candidates.subarray(at, at + 3);
      if (distance(candidate, a!.position) <= NEAR) nearA++;
      else if (distance(candidate, b!.position) <= NEAR) nearB++;
    }
    const total = candidates.length / 3;
    return {
      less: Math.min(nearA, nearB) / total,
      more: Math.max(nearA, nearB) / total,
      far: 1 - (nearA + nearB) / total,
    };
  });
  const mean = (value: (share: (typeof shares)[number]) => number): number =>
    shares.reduce((sum, share) => sum + value(share), 0) / shares.length;
  return {
    count: answers.length,
    nearLess: mean(({ less }) => less),
    nearMore: mean(({ more }) => more),
    far: mean(({ far }) => far),
    answeredWithBoth: mean(({ less, far }) => (less >= 0.25 && far < 0.1 ? 1 : 0)),
  };
}
