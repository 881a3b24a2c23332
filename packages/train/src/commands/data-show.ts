import { renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { DataError, type EpisodeRef, openDataset } from "@md/rlbench-data";
import type { Command } from "commander";
import { formatBytes } from "../format-bytes.js";
import { makeOutFolder } from "../out-folder.js";
import { showPage } from "../show/page.js";
import { parseInteger } from "./options.js";

interface ShowFlags {
  data: string;
  task?: string;
  episode?: string;
  out: string;
}

/** `minidiff data show`. */
export function addDataShow(data: Command): void {
  data
    .command("show")
    .description("write a page that shows an episode: camera images, cloud, path and key poses in 3D")
    .requiredOption("--data <dir>", "folder of demonstrations, in any format")
    .option("--task <name>", "task of the episode; default: the first")
    .option("--episode <number>", "default: the first")
    .requiredOption("--out <page.html>", "file to write")
    .action(run);
}

async function run(flags: ShowFlags): Promise<void> {
  const number = flags.episode === undefined ? undefined : parseInteger("--episode", flags.episode, 0);
  const source = openDataset(flags.data, { onBad: () => undefined });
  const ref = findEpisode(source.listEpisodes(flags.task ?? source.tasks[0]), number, flags.data);
  const page = showPage(await source.readEpisode(ref), source.format);
  makeOutFolder(dirname(flags.out));
  const unfinished = `${flags.out}.partial`;
  try {
    writeFileSync(unfinished, page);
    renameSync(unfinished, flags.out);
  } finally {
    rmSync(unfinished, { force: true });
  }
  console.log(`${flags.out}: ${ref.id}, ${formatBytes(Buffer.byteLength(page))}`);
}

function findEpisode(episodes: readonly EpisodeRef[], number: number | undefined, root: string): EpisodeRef {
  const found = number === undefined ? episodes[0] : episodes.find(({ index }) => index === number);
  if (found) return found;
  const [first] = episodes;
  if (!first) throw new DataError(root, "has no episode that can be listed");
  const indices = episodes.map(({ index }) => index);
  throw new DataError(
    root,
    `has no episode ${number} of ${first.task}, only ${indices.length}, numbered ${Math.min(...indices)} to ${Math.max(...indices)}`,
  );
}
