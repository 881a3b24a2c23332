import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { readTorchCheckpoint } from "@md/nn";
import { reshape, scope } from "@md/tensor";
import { compare, FORWARD } from "./compare.js";
import type { GoldenFile } from "./golden-file.js";
import { emptyReport, type GoldenReport, runCase } from "./report.js";

const CHECKPOINT = "ckpt.";
/** Tensors of one case: of an episode of key steps, of a packaged episode, of an instruction's embedding. */
const PENDING = /^(dat\.episode\d+|episode\d+|instr)\./;

/** Whether the file holds what readers must return for the files beside it. */
export const isFormats = (golden: GoldenFile): boolean =>
  [...golden.arrays.keys()].some((name) => name.startsWith(CHECKPOINT) || PENDING.test(name));

/**
 * Holds each `checkpoint_*.pt` beside the file against its tensors `ckpt.*`. Key steps in LMDB, packaged episodes and
 * embeddings have nothing that runs them: pending.
 */
export function checkFormats(golden: GoldenFile, path: string): GoldenReport {
  const report = emptyReport();
  const names = [...golden.arrays.keys()];
  const expected = names.filter((name) => name.startsWith(CHECKPOINT)).map((name) => name.slice(CHECKPOINT.length));
  const checkpoints = readdirSync(dirname(path)).filter((name) => /^checkpoint_.*\.pth?$/.test(name));
  if (expected.length > 0 && checkpoints.length === 0) {
    runCase(report, CHECKPOINT, () => {
      throw new Error("no checkpoint_*.pt lies beside the file");
    });
  }
  for (const name of checkpoints) {
    runCase(report, name, () => scope(() => checkCheckpoint(golden, join(dirname(path), name), expected)));
  }
  const pending = names.flatMap((name) => (name.startsWith("instr.") ? [name] : (PENDING.exec(name)?.slice(1) ?? [])));
  report.pending = new Set(pending).size;
  return report;
}

function checkCheckpoint(golden: GoldenFile, path: string, expected: readonly string[]): void {
  const found = readTorchCheckpoint(path);
  const names = [[...found.keys()], expected].map((list) => [...list].sort().join(", "));
  if (names[0] !== names[1]) throw new Error(`tensors are ${names[0]}, expected ${names[1]}`);
  for (const [name, x] of found) {
    // What wrote the golden file has no tensors of rank 0: it has them as [1], PyTorch itself as [].
    compare(golden, `${CHECKPOINT}${name}`, x.shape.length === 0 ? reshape(x, [1]) : x, FORWARD);
  }
}
