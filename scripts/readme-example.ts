import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The first `js` or `ts` block of the README in `directory`; an Error where there is none. */
export function readmeExample(directory: string): string {
  const file = join(directory, "README.md");
  const block = /^```(?:js|ts)\n(.*?)^```$/ms.exec(readFileSync(file, "utf8"));
  if (!block) throw new Error(`${file} opens with no example: a block of js or ts was expected`);
  return block[1];
}
