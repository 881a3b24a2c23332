import { existsSync } from "node:fs";
import { relative } from "node:path";
import { goldensFolder } from "../../packages/rlbench-data/test/support/paths.js";
import { checkGolden, findGolden } from "./check-golden.js";

const MAX_MESSAGES = 20;

/**
 * Runs the golden files of the given names and prints the cases passed, failed and pending of each. 0 when every file
 * has a case that was run and none failed, else 1.
 */
export async function main(names: readonly string[]): Promise<number> {
  if (names.length === 0 || !existsSync(goldensFolder)) {
    console.error("Usage: npm run test:goldens -- NAME…");
    console.error(
      `NAME is a file of ${goldensFolder}, with or without .safetensors, or a folder in it; MD_GOLDENS names another folder.`,
    );
    return 1;
  }
  let status = 0;
  for (const name of names) if (!(await runFile(findGolden(goldensFolder, name)))) status = 1;
  return status;
}

async function runFile(path: string): Promise<boolean> {
  const name = relative(goldensFolder, path);
  try {
    const report = await checkGolden(path);
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
