import { workerData } from "node:worker_threads";
import { openDataset } from "../../open-dataset.js";
import { serveEpisodes } from "../../threads/serve-episodes.js";
import {
  exportEpisode,
  type ExportFolders,
  type ExportJob,
  type ExportOutcome,
  outlineEpisode,
} from "./export-episode.js";

// A worker thread of an export.
const { from, to } = workerData as ExportFolders;
const source = openDataset(from, { onBad: () => undefined });

serveEpisodes<ExportOutcome, ExportJob>(({ plan, ...ref }) =>
  plan ? exportEpisode(source, ref, to, plan) : outlineEpisode(source, ref),
);
