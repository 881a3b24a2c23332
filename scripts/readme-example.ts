import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface ReadmeExample {
  /** `example.js` or `example.ts`, as the block says. */
  file: string;
  code: string;
}

/** The `js` and `ts` blocks of the README in `directory` that are programs: those that begin with an import. */
export function readmeExamples(directory: string): ReadmeExample[] {
  const blocks = readFileSync(join(directory, "README.md"), "utf8").matchAll(/^```(js|ts)\n(.*?)^```$/gms);
  return [...blocks]
    .filter(([, , code]) => code!.startsWith("import "))
    .map(([, extension, code]) => ({ file: `example.${extension}`, code: code! }));
}

/** The first of {@link readmeExamples}; an Error where there is none. */
export function readmeExample(directory: string): ReadmeExample {
  const [example] = readmeExamples(directory);
  if (!example) throw new Error(`${join(directory, "README.md")} has no example: a block of js or ts was expected`);
  return example;
}
