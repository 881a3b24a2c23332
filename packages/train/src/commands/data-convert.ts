import { convertDataset, type ConvertProgress, exportLeRobot } from "@md/rlbench-data";
import type { Command } from "commander";
import { ConfigError } from "../errors.js";
import { formatBytes } from "../format-bytes.js";
import { formatSeconds } from "../progress.js";
import { exitStatus } from "./failure.js";
import { abortOnSignals } from "./interrupt.js";
import { listSkipped, skipBadFlag, skipBadHelp } from "./skip-bad.js";

const LINE_SECONDS = 10;

const FORMATS = ["compact", "lerobot"];

interface ConvertFlags {
  from: string;
  to: string;
  format: string;
  cameras?: string;
  skipBad?: boolean;
}

/** `minidiff data convert`. */
export function addDataConvert(data: Command): void {
  data
    .command("convert")
    .description("write the key steps of demonstrations in the compact format or as a LeRobot data set")
    .requiredOption("--from <dir>", "folder of demonstrations, in any format")
    .requiredOption("--to <dir>", "folder to write; an interrupted conversion goes on")
    .option("--format <name>", `${FORMATS.join(" or ")}`, FORMATS[0])
    .option("--cameras <names>", "of lerobot: cameras that all episodes have, such as front,wrist; default: all")
    .option(skipBadFlag, skipBadHelp)
    .action(run);
}

async function run({ from, to, format, cameras, skipBad }: ConvertFlags): Promise<void> {
  if (!FORMATS.includes(format))
    throw new ConfigError("--format", "", `is "${format}", expected ${FORMATS.join(" or ")}`);
  if (cameras !== undefined && format === "compact")
    throw new ConfigError("--cameras", "", "is an option of --format lerobot; the compact format keeps all cameras");
  const start = performance.now();
  const onProgress = progressLines(start);
  const onBad = listSkipped(skipBad);
  const names = cameras?.split(",").map((name) => name.trim());
  const result = await abortOnSignals(async (signal) =>
    format === "compact"
      ? convertDataset({ from, to, onBad, onProgress, signal })
      : exportLeRobot({ from, to, cameras: names, onBad, onProgress, signal }),
  );
  const { finished, written, kept, skipped, bytes } = result;
  const counts = [`${written} written (${formatBytes(bytes)})`, `${kept} kept`, `${skipped} skipped`].join(", ");
  console.log(`${to}: ${counts}, each read back, in ${formatSeconds((performance.now() - start) / 1000)}`);
  if (finished) return;
  console.error("minidiff: interrupted; the same command goes on from here");
  process.exitCode = exitStatus.interrupted;
}

// A line that redraws itself on a terminal; elsewhere one every ten seconds, and the last.
function progressLines(start: number): (progress: ConvertProgress) => void {
  const { stderr } = process;
  let drawn = -Infinity;
  return ({ done, total, id }) => {
    const now = performance.now();
    if (done < total && now - drawn < (stderr.isTTY ? 100 : 1000 * LINE_SECONDS)) return;
    drawn = now;
    const left = formatSeconds((((now - start) / done) * (total - done)) / 1000);
    const line = `${done}/${total} episodes, ${left} left, ${id}`;
    stderr.write(
      stderr.isTTY ? `\r\x1b[2K${line.slice(0, stderr.columns - 1)}${done === total ? "\n" : ""}` : `${line}\n`,
    );
  };
}
