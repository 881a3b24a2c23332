import { parentPort, workerData } from "node:worker_threads";
import type { EpisodeRef } from "../../episode-source.js";
import { orSkipAsync } from "../../errors.js";
import { openDataset } from "../../open-dataset.js";
import { convertEpisode, type ConvertFolders } from "./convert-episode.js";

// A worker thread of a conversion: each message is an episode, each answer its size, or null where its data are bad.
const { from, to } = workerData as ConvertFolders;
const ignore = (): void => undefined;
const source = openDataset(from, { onBad: ignore });

parentPort!.on("message", async (ref: EpisodeRef) => {
  const bytes = await orSkipAsync(ignore, () => convertEpisode(source, ref, to));
  parentPort!.postMessage(bytes ?? null);
});
