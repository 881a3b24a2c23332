import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { goldenOps } from "../../packages/tensor/test/goldens/ops.js";
import { checkRlbenchGolden } from "../../packages/rlbench-data/test/support/check-rlbench-golden.js";
import { checkFormats, isFormats } from "./check-formats.js";
import { checkMiniDiffuser, isMiniDiffuser } from "./check-mini-diffuser.js";
import { checkOps, isOps } from "./check-ops.js";
import { checkPaperEquations, isPaperEquations } from "./check-paper-equations.js";
import { checkSchedulers, isSchedulers } from "./check-schedulers.js";
import { checkSerialization, isSerialization } from "./check-serialization.js";
import { checkSparseConv, isSparseConv } from "./check-sparse-conv.js";
import { type GoldenFile, metadata, readGolden } from "./golden-file.js";
import type { GoldenReport } from "./report.js";

/** A kind of golden file, known by its metadata, and what runs its cases. */
interface Form {
  matches(golden: GoldenFile): boolean;
  check(golden: GoldenFile, path: string): GoldenReport | Promise<GoldenReport>;
}

const forms: readonly Form[] = [
  { matches: isOps, check: (golden) => checkOps(golden, goldenOps) },
  { matches: isSchedulers, check: checkSchedulers },
  { matches: isPaperEquations, check: checkPaperEquations },
  { matches: isSerialization, check: checkSerialization },
  { matches: isSparseConv, check: checkSparseConv },
  { matches: isMiniDiffuser, check: (golden) => checkMiniDiffuser(golden) },
  { matches: isRlbench, check: (_, path) => checkRlbenchGolden(path) },
  { matches: isFormats, check: checkFormats },
];

function isRlbench(golden: GoldenFile): boolean {
  const index = metadata(golden, "index");
  return (
    typeof index === "object" &&
    index !== null &&
    Object.values(index).every((entry) => Array.isArray(entry?.key_frames))
  );
}

/** Runs all cases of a golden file of a known form; null where its metadata has no known form. */
export async function checkGolden(path: string): Promise<GoldenReport | null> {
  const golden = readGolden(path);
  return (await forms.find(({ matches }) => matches(golden))?.check(golden, path)) ?? null;
}

/** A file of the folder by its name, with or without `.safetensors`; of a folder in it, `expected.safetensors`. */
export function findGolden(folder: string, name: string): string {
  const exact = join(folder, name);
  if (statSync(exact, { throwIfNoEntry: false })?.isDirectory()) return join(exact, "expected.safetensors");
  return existsSync(exact) ? exact : `${exact}.safetensors`;
}
