import { type DatasetInfo, describeDataset, openDataset, type Spread } from "@md/rlbench-data";
import type { Command } from "commander";
import { stringify } from "yaml";
import { formatBytes } from "../format-bytes.js";
import { listSkipped, skipBadFlag, skipBadHelp } from "./skip-bad.js";

/** `minidiff data info`. */
export function addDataInfo(data: Command): void {
  data
    .command("info")
    .description("show what a folder of demonstrations holds")
    .argument("<dir>", "folder of demonstrations, in any format")
    .option(skipBadFlag, skipBadHelp)
    .option("--json", "print it as JSON")
    .action(run);
}

async function run(root: string, { skipBad, json }: { skipBad?: boolean; json?: boolean }): Promise<void> {
  const onBad = listSkipped(skipBad);
  const info = await describeDataset(openDataset(root, { onBad }), onBad);
  console.log(json ? JSON.stringify(info, null, 2) : formatInfo(info));
}

function formatInfo({ tasks, workspace, points, bytes, ...info }: DatasetInfo): string {
  const metres = (values: readonly number[]): string => values.map((value) => value.toFixed(3)).join(", ");
  const summary = {
    ...info,
    cameras: info.cameras.join(", ") || "none: fused clouds",
    workspace: `${metres(workspace.min)} to ${metres(workspace.max)} m, of the key poses`,
    points: `${formatSpread(points.stored)} at an episode's first frame, ${formatSpread(points.prepared)} prepared`,
    size: formatBytes(bytes),
    tasks: Object.fromEntries(
      tasks.map(({ task, variations, keyPoses, frames, instructionSources, ...counts }) => [
        task,
        {
          variations: variations.join(", ") || "not told apart",
          ...counts,
          instructionSources: instructionSources.join(", "),
          keyPoses: `${formatSpread(keyPoses)} an episode`,
          frames: `${formatSpread(frames)} an episode`,
        },
      ]),
    ),
  };
  return stringify(summary, { lineWidth: 0 }).trimEnd();
}

const formatSpread = ({ min, mean, max }: Spread): string =>
  min === max ? `${min}` : `${min} to ${max} (mean ${mean.toFixed(1)})`;
