import type { Observation } from "@md/diffusion";
import {
  type EpisodeRef,
  hashedWordEncoder,
  type InstructionEmbedding,
  type InstructionEncoder,
  type KeyPoseDataset,
  loadInstructionEmbeddings,
  loadKeyPoses,
  type OnBad,
  openDataset,
  selectEpisodes,
} from "@md/rlbench-data";
import type { DataConfig } from "./config/schema.js";

/** A folder of demonstrations and what of it is meant. */
export interface DataSource {
  root: string;
  /** Default: all tasks of the folder. */
  tasks?: readonly string[];
  /** Selection such as "0-3,7", in every task. Default: all episodes. */
  episodes?: string;
  /** Ids of the episodes meant, of those that the rest selects. Default: all. */
  ids?: ReadonlySet<string>;
  /** Called with each episode or part that cannot be read, which is then left out. Default: the error is thrown. */
  onBad?: OnBad;
}

/** The episodes that a source means. */
export function listEpisodes({ root, tasks, episodes, ids, onBad }: DataSource): EpisodeRef[] {
  const folder = openDataset(root, { onBad });
  return (tasks ?? folder.tasks).flatMap((task) => {
    const all = folder.listEpisodes(task);
    const selected = episodes === undefined ? all : selectEpisodes(all, episodes);
    return selected.filter(({ id }) => ids?.has(id) ?? true);
  });
}

/** What turns instructions into tokens under this configuration. */
export function instructionEncoder({ instructionFile, instructionDim }: DataConfig): InstructionEncoder {
  return instructionFile === null ? hashedWordEncoder(instructionDim) : loadInstructionEmbeddings(instructionFile);
}

/**
 * Reads episodes into training states.
 *
 * @param options.keyPosesOnly one state a key pose, whatever the configuration says about frames between. Default false.
 * @param options.onBad called with what is wrong with an episode, which is then left out. Default: it is thrown.
 */
export async function loadDataset(
  episodes: readonly EpisodeRef[],
  config: DataConfig,
  options: { keyPosesOnly?: boolean; onBad?: OnBad } = {},
): Promise<KeyPoseDataset> {
  const { keyPosesOnly = false, onBad } = options;
  return loadKeyPoses(episodes, {
    cameras: config.cameras ?? undefined,
    voxelSize: config.voxelSize,
    tableHeight: config.tableHeight,
    removeRobot: config.removeRobot,
    everyFrame: config.everyFrame && !keyPosesOnly,
    stride: config.stride,
    encoder: instructionEncoder(config),
    onBad,
  });
}

/**
 * `observation` with other instructions.
 *
 * @param instructions one a scene
 */
export function withInstructions<O extends Observation>(
  observation: O,
  instructions: readonly InstructionEmbedding[],
): O {
  const { size, instructionDim } = observation;
  const instructionTokens = Math.max(...instructions.map(({ tokens }) => tokens));
  const instruction = new Float32Array(size * instructionTokens * instructionDim);
  instructions.forEach(({ data }, b) => instruction.set(data, b * instructionTokens * instructionDim));
  const instructionLengths = Int32Array.from(instructions, ({ tokens }) => tokens);
  return { ...observation, instruction, instructionTokens, instructionLengths };
}
