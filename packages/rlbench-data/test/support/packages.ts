import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compressBlosc, makePackage, picklePackage } from "./packaged-episode.js";

/** Writes a folder of 3D Diffuser Actor packages of three key steps and one camera. */
export async function writePackages(root: string, episodes: number): Promise<string> {
  mkdirSync(join(root, "push+1"), { recursive: true });
  for (let i = 0; i < episodes; i++)
    writeFileSync(join(root, "push+1", `ep${i}.dat`), await compressBlosc(picklePackage(makePackage(3, ["front"], 8))));
  return root;
}
