import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { describeValue } from "@md/pickle";
import { DataError } from "../errors.js";
import { readPickle } from "../read-pickle.js";
import type { Episode } from "./episodes.js";

/** The texts that tell an episode's goal, and where they come from. */
export interface Instructions {
  /** At least one, the first is the canonical one. */
  texts: string[];
  /** `"task name"`: the recording has none, the text is the task's name with spaces for underscores. */
  source: "variation_descriptions" | "taskvars_instructions" | "task name";
}

const FILE = "variation_descriptions.pkl";

/**
 * Instructions of an episode from `variation_descriptions.pkl`, in the episode's folder or that of its
 * variation. When there is no such file, or it holds something else (some recordings hold an
 * Observation), the task's name stands in and `source` says so.
 *
 * @param options.required throw instead of falling back to the task's name. Default false.
 * @throws PickleError on a corrupt or hostile file; DataError when required and not there
 */
export function readInstructions(episode: Episode, options: { required?: boolean } = {}): Instructions {
  const variationFolder = dirname(dirname(episode.directory));
  const file = [join(episode.directory, FILE), join(variationFolder, FILE)].find((path) => existsSync(path));
  const value = file === undefined ? undefined : readPickle(file);
  if (Array.isArray(value) && value.length > 0) {
    const texts = value.filter((text) => typeof text === "string" && text.trim() !== "");
    if (texts.length === value.length) return { texts: texts as string[], source: "variation_descriptions" };
  }
  if (options.required) {
    const found = value === undefined ? "is missing" : `holds ${describeValue(value)}`;
    throw new DataError(file ?? join(episode.directory, FILE), `${found}, expected a list of instructions`);
  }
  return { texts: [episode.task.replaceAll("_", " ")], source: "task name" };
}
