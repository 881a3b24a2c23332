import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

const repository = fileURLToPath(new URL("../../../../", import.meta.url));

/** Folder of golden files: `MD_GOLDENS`, or `../shared/goldens` beside the repository. */
export const goldensFolder = resolve(process.env.MD_GOLDENS ?? resolve(repository, "../shared/goldens"));
/** Folder of real demonstrations: `MD_RLBENCH`, or `../shared/rlbench` beside the repository. */
export const rlbenchFolder = resolve(process.env.MD_RLBENCH ?? resolve(repository, "../shared/rlbench"));
/** Folder of real demonstrations without images. */
export const lowDimFolder = resolve(repository, "../shared/rlbench_lowdim");

/** The message to skip a test with when a folder is absent, else undefined. */
export function missing(folder: string): string | undefined {
  return existsSync(folder) ? undefined : `${folder} is not there`;
}
