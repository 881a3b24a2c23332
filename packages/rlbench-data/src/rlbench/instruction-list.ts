import { DataError } from "../errors.js";
import { readBoundedFile } from "../read-file.js";

/** The instructions of one variation of a task. */
export interface VariationInstructions {
  /** As the file names it, such as `open_drawer_peract`. */
  task: string;
  variation: number;
  texts: string[];
}

const MAX_BYTES = 64 * 2 ** 20;

/**
 * Reads a list of instructions by task variation, as 3D-LOTUS keeps it in `taskvars_instructions.json`:
 * `{"open_drawer_peract+0": ["open the top drawer", …], …}`.
 *
 * @throws DataError naming the file and the variation at fault
 */
export function readVariationInstructions(file: string): VariationInstructions[] {
  const json = parseJson(file);
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw new DataError(file, "is no JSON object of instructions by task variation");
  return Object.entries(json).map(([key, value]: [string, unknown]) => {
    const [, task, variation] = /^(.+)\+(\d{1,6})$/.exec(key) ?? [];
    if (task === undefined) throw new DataError(file, `has the key ${JSON.stringify(key)}, expected TASK+VARIATION`);
    return { task, variation: Number(variation), texts: texts(file, JSON.stringify(key), value) };
  });
}

/**
 * The distinct instructions of a file, in their order: a list by task variation as {@link readVariationInstructions} reads
 * it, a JSON array of texts, or, in a file named `.txt`, a text a line.
 *
 * @throws DataError naming the file and the entry at fault
 */
export function readInstructionTexts(file: string): string[] {
  if (/\.txt$/i.test(file)) {
    const lines = readBoundedFile(file, MAX_BYTES).toString("utf8").split(/\r?\n/);
    return distinct(
      file,
      texts(
        file,
        "the file",
        lines.filter((line) => line.trim() !== ""),
      ),
    );
  }
  const json = parseJson(file);
  if (Array.isArray(json)) return distinct(file, texts(file, "the list", json));
  return distinct(
    file,
    readVariationInstructions(file).flatMap((variation) => variation.texts),
  );
}

function parseJson(file: string): unknown {
  const text = readBoundedFile(file, MAX_BYTES).toString("utf8");
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new DataError(file, `is no JSON: ${(cause as Error).message}`, { cause });
  }
}

function texts(file: string, field: string, value: unknown): string[] {
  if (!Array.isArray(value) || value.length === 0)
    throw new DataError(file, `${field} has no instructions, expected a list of texts`);
  value.forEach((text: unknown, i) => {
    if (typeof text !== "string" || text.trim() === "")
      throw new DataError(file, `${field} has ${JSON.stringify(text)} at ${i}, expected a text`);
  });
  return value as string[];
}

function distinct(file: string, all: readonly string[]): string[] {
  if (all.length === 0) throw new DataError(file, "has no instructions");
  return [...new Set(all)];
}
