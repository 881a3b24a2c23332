import type { OnBad } from "@md/rlbench-data";

export const skipBadFlag = "--skip-bad";
export const skipBadHelp = "leave out episodes that cannot be read, and list them";

/** Lists on standard error what `--skip-bad` leaves out, each once; undefined without the flag, so that errors are thrown. */
export function listSkipped(skipBad: boolean | undefined): OnBad | undefined {
  if (!skipBad) return undefined;
  const listed = new Set<string>();
  return ({ message }) => {
    if (listed.has(message)) return;
    listed.add(message);
    console.error(`minidiff: skipped: ${message}`);
  };
}
