import type { Target } from "../target.js";
import { pickles } from "./pickles.js";
import { recordings } from "./recordings.js";
import { weightFiles } from "./weights.js";

/** Every parser of files from outside. */
export const targets: readonly Target[] = [...pickles, ...recordings, ...weightFiles];
