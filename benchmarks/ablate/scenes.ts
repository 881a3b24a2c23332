import {
  hashedWordEncoder,
  type KeyPoseDataset,
  makeReachEpisode,
  prepareKeyPoses,
  type ReachScene,
  toDemonstration,
} from "@md/rlbench-data";
import type { DataConfig } from "@md/train";

/** Key poses of synthetic scenes, one a scene, with the truth of each. */
export interface ReachDataset {
  dataset: KeyPoseDataset;
  scenes: readonly ReachScene[];
}

/** The first `count` scenes of a seed, which are those that the demo writes to disk, made in memory. */
export function makeReachDataset(count: number, seed: number, config: DataConfig): ReachDataset {
  const scenes: ReachScene[] = [];
  const demonstrations = function* (): Generator<ReturnType<typeof toDemonstration>> {
    for (let index = 0; index < count; index++) {
      const episode = makeReachEpisode(seed, index);
      scenes.push(episode.scene);
      yield toDemonstration(episode);
    }
  };
  const { voxelSize, tableHeight, instructionDim } = config;
  const encoder = hashedWordEncoder(instructionDim);
  return { dataset: prepareKeyPoses(demonstrations(), { voxelSize, tableHeight, encoder }), scenes };
}
