import { workerData } from "node:worker_threads";
import { serveEpisodes } from "../threads/serve-episodes.js";
import { type EpisodeOptions, EpisodePreparer } from "./prepare-episode.js";

// A worker thread that prepares episodes for training: of each it gives back the states.
const preparer = new EpisodePreparer(workerData as EpisodeOptions);

serveEpisodes((ref) => preparer.prepare(ref));
