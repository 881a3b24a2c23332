import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { demonstrationOf, openDataset } from "@md/rlbench-data";
import type { ParseFile } from "../target.js";

/** Writes the input to a file of that ending and lets `parse` read it. */
export const fromFile =
  (parse: ParseFile, ending = "") =>
  (input: Uint8Array, file: string): unknown => {
    writeFileSync(file + ending, input);
    return parse(file + ending);
  };

/** Writes the input as one of the files of a data set, with others beside it, and reads every frame of every episode. */
export const fromDataset =
  (path: string, others: Readonly<Record<string, Uint8Array>> = {}) =>
  async (input: Uint8Array, folder: string): Promise<unknown> => {
    for (const [name, content] of Object.entries({ ...others, [path]: input })) {
      const file = join(folder, name);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
    }
    const source = openDataset(folder);
    const seen: unknown[] = [];
    for (const ref of source.listEpisodes()) {
      const episode = await source.readEpisode(ref);
      for (let frame = 0; frame < Math.min(4, episode.states.length); frame++) {
        seen.push(episode.linkBoxes?.(frame));
        seen.push(demonstrationOf(episode).observe(frame));
      }
    }
    return seen;
  };
