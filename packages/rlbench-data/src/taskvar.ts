import { existsSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { DataError, type OnBad, orSkip } from "./errors.js";
import { readBoundedFile } from "./read-file.js";
import type { Instructions } from "./rlbench/instructions.js";

const LIST_FILE = /^taskvars_instructions.*\.json$/;
// Parsed JSON takes many times its text.
const MAX_BYTES = 32 * 2 ** 20;

/** A task and its variation, as 3D-LOTUS and 3D Diffuser Actor name folders: `open_drawer+0`. */
export interface TaskVariation {
  task: string;
  variation: number;
}

/** The task and variation that a folder is named after; undefined for other names. */
export function parseTaskVariation(name: string): TaskVariation | undefined {
  const match = /^([^+]+)\+(\d{1,6})$/.exec(name);
  return match ? { task: match[1], variation: Number(match[2]) } : undefined;
}

/** Texts of each task and variation. */
export interface InstructionLists {
  file: string;
  /** By `task+variation`. */
  texts: ReadonlyMap<string, string[]>;
}

/**
 * Reads `taskvars_instructions*.json`, the paper's lists of instructions: an object of `task+variation` to texts.
 *
 * @throws DataError naming the file and the entry at fault
 */
export function readInstructionLists(file: string): InstructionLists {
  return listsOfJson(file, readJson(file));
}

/** Content of a JSON file. @throws DataError naming it */
export function readJson(file: string): unknown {
  const text = readBoundedFile(file, MAX_BYTES).toString("utf8");
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new DataError(file, `is no JSON: ${(cause as Error).message}`, { cause });
  }
}

/** See {@link readInstructionLists}; entries at fault go to `onBad` and are left out. */
export function listsOfJson(file: string, content: unknown, onBad?: OnBad): InstructionLists {
  if (typeof content !== "object" || content === null || Array.isArray(content))
    throw new DataError(file, "is no JSON object of task+variation to instructions");
  const texts = new Map<string, string[]>();
  for (const [name, list] of Object.entries(content) as [string, unknown][])
    orSkip(onBad, () => texts.set(name, checkList(file, name, list)));
  return { file, texts };
}

function checkList(file: string, name: string, list: unknown): string[] {
  const isText = (text: unknown): text is string => typeof text === "string" && text.trim() !== "";
  if (!parseTaskVariation(name) || !Array.isArray(list) || list.length === 0 || !list.every(isText))
    throw new DataError(file, `"${name}" is no task+variation with a list of instructions`);
  return list;
}

/**
 * The instruction lists of a data set: the file `taskvars_instructions*.json` in its folder or in the one above it, null
 * where there is none. Without `onBad` it throws; with it, entries at fault are left out, and a file that is none is as
 * if it were not there.
 *
 * @throws DataError when there are several in one folder, or it is malformed
 */
export function findInstructionLists(root: string, onBad?: OnBad): InstructionLists | null {
  for (const folder of [resolve(root), dirname(resolve(root))]) {
    const files = existsSync(folder) ? readdirSync(folder).filter((name) => LIST_FILE.test(name)) : [];
    if (files.length === 0) continue;
    const lists = orSkip(onBad, () => {
      if (files.length > 1) throw new DataError(folder, `has ${files.sort().join(" and ")}, expected one of them`);
      const file = join(folder, files[0]);
      return listsOfJson(file, readJson(file), onBad);
    });
    return lists ?? null;
  }
  return null;
}

/**
 * Instructions of a task and variation. PerAct's tasks are listed with or without the suffix `_peract`. Without lists
 * the task's name stands in.
 *
 * @throws DataError when there are lists and it is in none
 */
export function instructionsOf(lists: InstructionLists | null, { task, variation }: TaskVariation): Instructions {
  const plain = task.replace(/_peract$/, "");
  if (lists === null) return { texts: [plain.replaceAll("_", " ")], source: "task name" };
  const names = [`${task}+${variation}`, `${plain}+${variation}`, `${plain}_peract+${variation}`];
  const found = names.find((name) => lists.texts.has(name));
  if (found === undefined) throw new DataError(lists.file, `has no instructions of ${names[0]}`);
  return { texts: [...lists.texts.get(found)!], source: "taskvars_instructions" };
}
