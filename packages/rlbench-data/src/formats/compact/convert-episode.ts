import type { EpisodeRef, EpisodeSource } from "../../episode-source.js";
import { keySteps } from "../../key-steps.js";
import { writeCompactEpisode } from "./write.js";

/** The folder that is converted, and the one that is written. */
export interface ConvertFolders {
  from: string;
  to: string;
}

/** Writes the key steps of an episode; its size in bytes. */
export async function convertEpisode(source: EpisodeSource, ref: EpisodeRef, to: string): Promise<number> {
  return writeCompactEpisode(to, keySteps(await source.readEpisode(ref)));
}
