import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface ReadmeExample {
  /** `example.js` or `example.ts`, as the block says. */
  file: string;
  code: string;
}

/** The first `js` or `ts` block of the README in `directory`; an Error where there is none. */
export function readmeExample(directory: string): ReadmeExample {
  const file = join(directory, "README.md");
  const block = /^```(js|ts)\n(.*?)^```$/ms.exec(readFileSync(file, "utf8"));
  if (!block) throw new Error(`${file} opens with no example: a block of js or ts was expected`);
  return { file: `example.${block[1]}`, code: block[2] };
}
