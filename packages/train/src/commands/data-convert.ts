import { convertDataset, type ConvertProgress } from "@md/rlbench-data";
import type { Command } from "commander";
import { formatBytes } from "../format-bytes.js";
import { formatSeconds } from "../progress.js";
import { exitStatus } from "./failure.js";
import { abortOnSignals } from "./interrupt.js";
import { listSkipped, skipBadFlag, skipBadHelp } from "./skip-bad.js";

const LINE_SECONDS = 10;

interface ConvertFlags {
  from: string;
  to: string;
  skipBad?: boolean;
}

/** `minidiff data convert`. */
export function addDataConvert(data: Command): void {
  data
    .command("convert")
    .description("write the key steps of demonstrations in the compact format; goes on where it was interrupted")
    .requiredOption("--from <dir>", "folder: RLBench, 3D-LOTUS, 3D Diffuser Actor or compact")
    .requiredOption("--to <dir>", "folder to write")
    .option(skipBadFlag, skipBadHelp)
    .action(run);
}

async function run({ from, to, skipBad }: ConvertFlags): Promise<void> {
  const start = performance.now();
  const onProgress = progressLines(start);
  const result = await abortOnSignals((signal) =>
    convertDataset({ from, to, onBad: listSkipped(skipBad), onProgress, signal }),
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
