import { DataError } from "../errors.js";
import { readBoundedFile } from "../read-file.js";
import { listsOfJson, readJson } from "../taskvar.js";

const MAX_BYTES = 64 * 2 ** 20;

/**
 * The distinct instructions of a file, in their order: a list by task variation as `readInstructionLists` reads it, a JSON
 * array of texts, or, in a file named `.txt`, a text a line.
 *
 * @throws DataError naming the file and the entry at fault
 */
export function readInstructionTexts(file: string): string[] {
  const texts = /\.txt$/i.test(file) ? linesOf(file) : textsOfJson(file, readJson(file));
  if (texts.length === 0) throw new DataError(file, "has no instructions");
  return [...new Set(texts)];
}

function linesOf(file: string): string[] {
  const lines = readBoundedFile(file, MAX_BYTES).toString("utf8").split(/\r?\n/);
  return lines.filter((line) => line.trim() !== "");
}

function textsOfJson(file: string, json: unknown): string[] {
  if (!Array.isArray(json)) return [...listsOfJson(file, json).texts.values()].flat();
  json.forEach((text: unknown, i) => {
    if (typeof text !== "string" || text.trim() === "")
      throw new DataError(
        file,
        `has ${text === null ? "null" : typeof text === "string" ? "an empty text" : typeof text} at ${i}, expected a text`,
      );
  });
  return json as string[];
}
