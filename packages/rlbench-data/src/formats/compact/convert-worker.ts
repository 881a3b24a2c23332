import { workerData } from "node:worker_threads";
import { openDataset } from "../../open-dataset.js";
import { serveEpisodes } from "../../threads/serve-episodes.js";
import { convertEpisode, type ConvertFolders } from "./convert-episode.js";

// A worker thread of a conversion: of each episode it gives back the size.
const { from, to } = workerData as ConvertFolders;
const source = openDataset(from, { onBad: () => undefined });

serveEpisodes((ref) => convertEpisode(source, ref, to));
