import { existsSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { goldensFolder } from "../../packages/rlbench-data/test/support/paths.js";
import { checkGolden, findGolden } from "./check-golden.js";

const MAX_MESSAGES = 20;

/**
 * Runs the golden files of the given names, or of none given all below the folder, and prints the cases passed, failed
 * and pending of each. 0 when no case failed and every file that was named, or any of those that were found, has a case
 * that was run; else 1.
 */
export async function main(names: readonly string[], folder = goldensFolder): Promise<number> {
  const usage = "Usage: npm run test:goldens [-- NAME…]";
  const where = `a NAME is a file of ${folder}, with or without .safetensors, or a folder in it; MD_GOLDENS names another folder`;
  const paths = names.length > 0 ? names.map((name) => findGolden(folder, name)) : allGoldens(folder);
  if (paths.length === 0 || !existsSync(folder)) {
    console.error(`${usage}\n${where}. Found no golden file there.`);
    return 1;
  }
  const outcomes: Outcome[] = [];
  for (const path of paths) outcomes.push(await runFile(path, folder));
  const count = (outcome: Outcome): number => outcomes.filter((one) => one === outcome).length;
  if (names.length > 0) return count("passed") === paths.length ? 0 : 1;
  console.log(`files: ${count("passed")} passed, ${count("failed")} failed, ${count("not run")} not run`);
  return count("failed") === 0 && count("passed") > 0 ? 0 : 1;
}

function allGoldens(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return files
    .filter((file) => file.endsWith(".safetensors"))
    .sort()
    .map((file) => join(folder, file));
}

type Outcome = "passed" | "failed" | "not run";

async function runFile(path: string, folder: string): Promise<Outcome> {
  const name = relative(folder, path);
  try {
    const report = await checkGolden(path);
    if (!report) {
      console.log(`${name}: 0 passed, 0 failed, 0 pending: its metadata has no form that is known here`);
      return "not run";
    }
    const { passed, failed, pending, messages } = report;
    console.log(`${name}: ${passed} passed, ${failed} failed, ${pending} pending`);
    for (const message of messages.slice(0, MAX_MESSAGES)) console.log(`  ${message}`);
    if (messages.length > MAX_MESSAGES) console.log(`  … and ${messages.length - MAX_MESSAGES} more`);
    if (passed + failed === 0) console.log("  no case was run");
    return failed > 0 ? "failed" : passed > 0 ? "passed" : "not run";
  } catch (error) {
    console.log(`${name}: cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    return "failed";
  }
}
