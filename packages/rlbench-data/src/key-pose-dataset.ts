import type { Demonstration, GripperState } from "./demonstration.js";
import { DataError, type OnBad, orSkip, partOf } from "./errors.js";
import { type InstructionEmbedding, type InstructionEncoder, hashedWordEncoder } from "./instruction-embedding.js";
import { shareCloud, shareEmbedding } from "./loader/shared-dataset.js";
import { prepareCloud, type PrepareOptions } from "./pipeline/prepare.js";
import { type Bounds, type PointCloud, RLBENCH_WORKSPACE_CENTER } from "./point-cloud.js";
import type { Instructions } from "./rlbench/instructions.js";
import { quaternionToRotationBins, type Vector3 } from "./rotation.js";

/** One training state: what is seen and known at a frame, and the next key pose. */
export interface KeyPoseSample {
  task: string;
  /** The demonstration's id. */
  episode: string;
  /** Frame of the observation. */
  frame: number;
  /** Which key pose of its episode is the target, from 0. */
  keyPoseIndex: number;
  instructions: Instructions;
  /** Embedding of each text of `instructions`. */
  embeddings: readonly InstructionEmbedding[];
  /** Cropped and down-sampled, never empty. */
  cloud: PointCloud;
  gripper: GripperState;
  target: GripperState;
}

/** A training state before its instructions are embedded. */
export type KeyPoseState = Omit<KeyPoseSample, "embeddings">;

/** Which frames become training states, and how their clouds are prepared. */
export interface StateOptions extends PrepareOptions {
  /** Take frames between key poses too, not only the previous key frame. Default false. */
  everyFrame?: boolean;
  /** With `everyFrame`, every how many frames, counted from the previous key frame. Default 1. */
  stride?: number;
}

/** How demonstrations become training states. */
export interface KeyPoseDatasetOptions extends StateOptions {
  /** Default {@link DEFAULT_ENCODER}: hashed words of 128 components. */
  encoder?: InstructionEncoder;
  /** Called with what is wrong with a demonstration, which is then left out. Default: it is thrown. */
  onBad?: OnBad;
}

/** What embeds instructions where nothing else is said. */
export const DEFAULT_ENCODER: InstructionEncoder = hashedWordEncoder(128);

/** Training states with their clouds prepared once and kept in memory, which worker threads of a loader share. */
export interface KeyPoseDataset {
  readonly samples: readonly KeyPoseSample[];
  /** Components of an instruction token. */
  readonly instructionDim: number;
}

/**
 * Prepares demonstrations for training. Each key pose gets the observation at the previous key frame
 * (frame 0 for the first) and, with `everyFrame`, those of the frames between.
 *
 * @throws DataError when an episode has no key pose or an observation no point left, and whatever
 *   reading the demonstrations throws
 */
export function prepareKeyPoses(
  demonstrations: Iterable<Demonstration>,
  { encoder = DEFAULT_ENCODER, onBad, ...options }: KeyPoseDatasetOptions = {},
): KeyPoseDataset {
  checkStride(options);
  const embed = instructionEmbedder(encoder);
  const samples = [...demonstrations].flatMap(
    (demonstration) => orSkip(onBad, () => embed(prepareStates(demonstration, options))) ?? [],
  );
  return datasetOf(samples, encoder);
}

/** @throws DataError for a stride that is none, whatever the demonstrations */
export function checkStride({ stride = 1 }: StateOptions): void {
  if (!Number.isInteger(stride) || stride < 1)
    throw new DataError("prepareKeyPoses", `stride is ${stride}, expected at least 1`);
}

/**
 * Gives states the embeddings of their instructions; each text is encoded once.
 *
 * @throws DataError naming the episode of a text that cannot be embedded
 */
export function instructionEmbedder(encoder: InstructionEncoder): (states: readonly KeyPoseState[]) => KeyPoseSample[] {
  const encoded = new Map<string, InstructionEmbedding>();
  const embed = (text: string): InstructionEmbedding => {
    const embedding = encoded.get(text) ?? shareEmbedding(encoder.encode(text));
    encoded.set(text, embedding);
    return embedding;
  };
  return (states) =>
    states.map((state) => {
      const embeddings = partOf(state.episode, () => state.instructions.texts.map(embed));
      return { ...state, embeddings };
    });
}

/** @throws DataError when there are no samples */
export function datasetOf(samples: readonly KeyPoseSample[], encoder: InstructionEncoder): KeyPoseDataset {
  if (samples.length === 0) throw new DataError("prepareKeyPoses", "there are no demonstrations");
  return { samples, instructionDim: encoder.dim };
}

/**
 * The training states of one demonstration; their clouds lie in memory that threads share.
 *
 * @throws DataError as {@link prepareKeyPoses}
 */
export function prepareStates(demonstration: Demonstration, options: StateOptions): KeyPoseState[] {
  const { everyFrame = false, stride = 1 } = options;
  const { task, id, instructions, states, keyFrames, keyPoses } = demonstration;
  if (keyFrames.length === 0) throw new DataError(id, "has no key pose");
  return keyFrames.flatMap((keyFrame, keyPoseIndex) => {
    const prepared: KeyPoseState[] = [];
    const from = keyPoseIndex === 0 ? 0 : keyFrames[keyPoseIndex - 1];
    for (let frame = from; frame < (everyFrame ? keyFrame : from + 1); frame += stride) {
      const robot = (options.removeRobot ?? "nothing") === "nothing" ? undefined : demonstration.linkBoxes?.(frame);
      const cloud = shareCloud(prepareCloud(demonstration.observe(frame), options, `${id} frame ${frame}`, robot));
      const [gripper, target] = [states[frame], keyPoses?.[keyPoseIndex] ?? states[keyFrame]];
      checkState(gripper, `${id} frame ${frame}`);
      checkState(target, `${id} frame ${keyFrame}`);
      prepared.push({ task, episode: id, frame, keyPoseIndex, instructions, cloud, gripper, target });
    }
    return prepared;
  });
}

function checkState({ position, quaternion, open }: GripperState, source: string): void {
  if (![...position, ...quaternion, open].every(Number.isFinite))
    throw new DataError(source, "the gripper's state is not finite");
  partOf(source, () => quaternionToRotationBins(quaternion));
}

/**
 * Box around the target positions and everything that augmentation can turn them into; what a policy
 * maps to [-1, 1].
 *
 * @param options.rotationRange degrees either way about z, as in `drawBatch`. Default 0.
 * @param options.jitter metres either way an axis, as in `drawBatch`. Default 0.
 * @param options.center what scenes are turned about. Default {@link RLBENCH_WORKSPACE_CENTER}.
 * @param options.margin metres added on every side, which also keeps an axis on which all targets
 *   agree from having no extent. Default 0.02.
 */
export function positionBounds(
  dataset: KeyPoseDataset,
  options: { rotationRange?: number; jitter?: number; center?: Vector3; margin?: number } = {},
): Bounds {
  const { rotationRange = 0, jitter = 0, center = RLBENCH_WORKSPACE_CENTER, margin = 0.02 } = options;
  const min: [number, number, number] = [Infinity, Infinity, Infinity];
  const max: [number, number, number] = [-Infinity, -Infinity, -Infinity];
  for (const { target } of dataset.samples) {
    for (const [x, y] of arcExtremes(target.position, center, rotationRange)) {
      [x, y, target.position[2]].forEach((value, axis) => {
        min[axis] = Math.min(min[axis], value - jitter - margin);
        max[axis] = Math.max(max[axis], value + jitter + margin);
      });
    }
  }
  return { min, max };
}

/** Ends of the arc that a point sweeps about the centre, and where it crosses the axes' directions. */
function arcExtremes(point: Vector3, center: Vector3, rangeDegrees: number): [number, number][] {
  const range = (Math.min(rangeDegrees, 180) * Math.PI) / 180;
  const [dx, dy] = [point[0] - center[0], point[1] - center[1]];
  const radius = Math.hypot(dx, dy);
  const start = Math.atan2(dy, dx);
  const angles = [start - range, start + range];
  for (let quarter = Math.ceil((2 * (start - range)) / Math.PI); quarter <= (2 * (start + range)) / Math.PI; quarter++)
    angles.push((quarter * Math.PI) / 2);
  return angles.map((angle) => [center[0] + radius * Math.cos(angle), center[1] + radius * Math.sin(angle)]);
}
