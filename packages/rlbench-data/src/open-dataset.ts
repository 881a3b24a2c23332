import { statSync } from "node:fs";
import type { EpisodeSource } from "./episode-source.js";
import { DataError, type OnBad } from "./errors.js";
import { isCompact, openCompactSource } from "./formats/compact/source.js";
import { isPackage, openDiffuserActorSource } from "./formats/diffuser-actor/source.js";
import { isLeRobot, openLeRobotSource } from "./formats/lerobot/source.js";
import { LOTUS_FILE, openLotusSource } from "./formats/lotus/source.js";
import { findTaskVariationFolders } from "./formats/task-variation-source.js";
import { isRLBench } from "./rlbench/episodes.js";
import { openRLBenchSource } from "./rlbench/source.js";

/** What opening a data set does about what cannot be read. */
export interface OpenDatasetOptions {
  /** Called with each part that cannot be listed, which is then left out. Default: the error is thrown. */
  onBad?: OnBad;
}

/**
 * Opens a folder of episodes in whichever format it is; see `EpisodeFormat`.
 *
 * @throws DataError when the folder is missing, holds no format that is known, or two
 */
export function openDataset(root: string, { onBad }: OpenDatasetOptions = {}): EpisodeSource {
  if (!statSync(root, { throwIfNoEntry: false })?.isDirectory()) throw new DataError(root, "is no folder");
  if (isCompact(root)) return openCompactSource(root, onBad);
  if (isLeRobot(root)) return openLeRobotSource(root, onBad);
  if (isRLBench(root)) return openRLBenchSource(root, onBad);
  const lotus = findTaskVariationFolders(root, (name) => name === LOTUS_FILE);
  const packages = findTaskVariationFolders(root, isPackage);
  if (lotus.length > 0 && packages.length > 0)
    throw new DataError(
      root,
      `holds 3D-LOTUS key steps (${lotus[0].folder}) and 3D Diffuser Actor packages (${packages[0].folder}); open a folder with one of them`,
    );
  if (lotus.length > 0) return openLotusSource(root, lotus, onBad);
  if (packages.length > 0) return openDiffuserActorSource(root, packages, onBad);
  throw new DataError(
    root,
    "holds no episodes: neither RLBench (TASK/variationN/episodes/episodeK) nor 3D-LOTUS (TASK+N/data.mdb) nor 3D Diffuser Actor (TASK+N/epK.dat) nor the compact format (episodes.json) nor LeRobot (meta/info.json)",
  );
}
