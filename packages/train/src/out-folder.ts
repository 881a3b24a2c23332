import { accessSync, constants, existsSync, mkdirSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { ConfigError } from "./errors.js";

/**
 * Checks that a run can write into `out`: it, or the first folder above it that exists, is a folder and writable.
 *
 * @returns the folders to make, from the uppermost
 * @throws ConfigError naming `--out`
 */
export function checkOutFolder(out: string): string[] {
  const missing: string[] = [];
  let existing = resolve(out);
  for (; !existsSync(existing); existing = dirname(existing)) missing.unshift(existing);
  if (!statSync(existing).isDirectory()) throw new ConfigError("--out", "", `is ${out}, but ${existing} is no folder`);
  naming(out, () => accessSync(existing, constants.W_OK | constants.X_OK));
  return missing;
}

/** Makes the folder, and those above it, one at a time: below /proc, Node's recursive mkdir never returns. */
export function makeOutFolder(out: string): void {
  const missing = checkOutFolder(out);
  naming(out, () => missing.forEach((folder) => mkdirSync(folder)));
}

function naming(out: string, body: () => void): void {
  try {
    body();
  } catch (error) {
    throw new ConfigError("--out", "", `is ${out}, which cannot be written: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
