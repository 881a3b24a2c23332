import { readdirSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { unpickleWithTensors } from "@md/pickle";
import type { EpisodeRef, EpisodeSource } from "../../episode-source.js";
import { DataError, type OnBad, orSkip } from "../../errors.js";
import { readBoundedFile } from "../../read-file.js";
import { findInstructionLists, instructionsOf } from "../../taskvar.js";
import { decodeBlosc } from "../blosc.js";
import { sourceOf, type TaskVariationFolder } from "../task-variation-source.js";
import { packagedEpisode } from "./episode.js";

const MAX_BYTES = 256 * 2 ** 20;

/** Whether a file may be a packaged episode. */
export const isPackage = (name: string): boolean => name.endsWith(".dat");

/** Opens 3D Diffuser Actor packages: folders `TASK+VARIATION` of files `epN.dat`, each a blosc chunk of a pickle. */
export function openDiffuserActorSource(
  root: string,
  folders: readonly TaskVariationFolder[],
  onBad?: OnBad,
): EpisodeSource {
  const lists = findInstructionLists(root, onBad);
  return sourceOf("3d-diffuser-actor", root, folders, onBad, {
    list: (folder, onBad) => listPackages(root, folder, onBad),
    async read(ref) {
      const bytes = await decodeBlosc(readBoundedFile(ref.location, MAX_BYTES), ref.location);
      const instructions = instructionsOf(lists, { task: ref.task, variation: ref.variation! });
      return packagedEpisode(unpickleWithTensors(bytes, ref.location), ref, instructions);
    },
  });
}

function listPackages(
  root: string,
  { folder, task, variation }: TaskVariationFolder,
  onBad: OnBad | undefined,
): (EpisodeRef & { number: number })[] {
  const refOf = (name: string): EpisodeRef & { number: number } => {
    const match = /^ep(\d{1,6})\.dat$/.exec(name);
    if (!match) throw new DataError(join(folder, name), "is no epN.dat");
    const id = `${relative(root, folder) || task + "+" + variation}/${name.slice(0, -".dat".length)}`;
    return { root, task, variation, index: 0, number: Number(match[1]), id, location: resolve(folder, name) };
  };
  return readdirSync(folder)
    .filter(isPackage)
    .flatMap((name) => orSkip(onBad, () => refOf(name)) ?? []);
}
