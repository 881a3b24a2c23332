import { existsSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { goldensFolder } from "../../packages/rlbench-data/test/support/paths.js";
import { checkGolden, findGolden } from "./check-golden.js";

const MAX_MESSAGES = 20;

/**
 * Runs the golden files of the given names, or of none given all below the folder, and prints the cases passed, failed
 * and pending of each. 0 when there are files, every file has a case that was run, and none failed, else 1.
 */
export function main(names: readonly string[], folder = goldensFolder): number {
  const usage = "Usage: npm run test:goldens [-- NAME…]";
  const where = `a NAME is a file of ${folder}, with or without .safetensors; MD_GOLDENS names another folder`;
  const paths = names.length > 0 ? names.map((name) => findGolden(folder, name)) : allGoldens(folder);
  if (paths.length === 0 || !existsSync(folder)) {
    console.error(`${usage}\n${where}. Found no golden file there.`);
    return 1;
  }
  const failed = paths.filter((path) => !runFile(path, folder));
  if (names.length === 0) console.log(`${paths.length - failed.length} of ${paths.length} files passed`);
  return failed.length === 0 ? 0 : 1;
}

function allGoldens(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return files
    .filter((file) => file.endsWith(".safetensors"))
    .sort()
    .map((file) => join(folder, file));
}

function runFile(path: string, folder: string): boolean {
  const name = relative(folder, path);
  try {
    const report = checkGolden(path);
    if (!report) {
      console.log(`${name}: 0 passed, 0 failed, 0 pending: its metadata has no form that is known here`);
      return false;
    }
    const { passed, failed, pending, messages } = report;
    console.log(`${name}: ${passed} passed, ${failed} failed, ${pending} pending`);
    for (const message of messages.slice(0, MAX_MESSAGES)) console.log(`  ${message}`);
    if (messages.length > MAX_MESSAGES) console.log(`  … and ${messages.length - MAX_MESSAGES} more`);
    if (passed + failed === 0) console.log("  no case was run");
    return passed > 0 && failed === 0;
  } catch (error) {
    console.log(`${name}: cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    return false;
  }
}
