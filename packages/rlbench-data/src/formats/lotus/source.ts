import { relative, resolve } from "node:path";
import { withFileBytes } from "../../byte-source.js";
import type { EpisodeRef, EpisodeSource } from "../../episode-source.js";
import { DataError, type OnBad, orSkip } from "../../errors.js";
import { findInstructionLists, instructionsOf } from "../../taskvar.js";
import { describeKey, LmdbReader } from "../lmdb.js";
import { sourceOf, type TaskVariationFolder } from "../task-variation-source.js";
import { decodeKeySteps } from "./episode.js";

export const LOTUS_FILE = "data.mdb";

/**
 * Opens 3D-LOTUS key steps: folders `TASK+VARIATION` with an LMDB each, in which every key `episodeN` has a
 * msgpack-numpy value. Opening lists keys and reads no value.
 */
export function openLotusSource(root: string, folders: readonly TaskVariationFolder[], onBad?: OnBad): EpisodeSource {
  const lists = findInstructionLists(root, onBad);
  return sourceOf("3d-lotus", root, folders, onBad, {
    list: (folder, onBad) => listKeys(root, folder, onBad),
    read(ref) {
      const [file, key] = splitLocation(ref);
      const value = withFileBytes(file, (bytes) => new LmdbReader(bytes).get(Buffer.from(key)));
      if (!value) throw new DataError(file, `has no key "${key}"`);
      const instructions = instructionsOf(lists, { task: ref.task, variation: ref.variation! });
      return Promise.resolve(decodeKeySteps(value, `${file}#${key}`, ref, instructions));
    },
  });
}

function listKeys(
  root: string,
  { folder, file, task, variation }: TaskVariationFolder,
  onBad: OnBad | undefined,
): (EpisodeRef & { number: number })[] {
  const refOf = (key: Buffer): EpisodeRef & { number: number } => {
    const name = key.toString("latin1");
    const match = /^episode(\d{1,6})$/.exec(name);
    if (!match) throw new DataError(file, `has the key ${describeKey(key)}, expected episodeN`);
    const id = `${relative(root, folder) || task + "+" + variation}/${name}`;
    return { root, task, variation, index: 0, number: Number(match[1]), id, location: `${resolve(file)}#${name}` };
  };
  return withFileBytes(file, (bytes) => new LmdbReader(bytes).keys())
    .filter((key) => !key.toString("latin1").startsWith("__"))
    .flatMap((key) => orSkip(onBad, () => refOf(key)) ?? []);
}

function splitLocation({ location }: EpisodeRef): [string, string] {
  const at = location.lastIndexOf("#");
  return [location.slice(0, at), location.slice(at + 1)];
}
