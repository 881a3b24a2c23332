import { existsSync } from "node:fs";
import type { Program } from "../measure/resident.js";

/** Mini-Diffuser in PyTorch, a file that comes with the golden files. */
export const torchMiniDiffuser = process.env["MD_TORCH_MINI_DIFFUSER"] ?? "../shared/peers/torch_mini_diffuser.py";

/** Its own benchmark, training steps alone; null where the file is absent. */
export function torchStepAlone(
  { scenes, points, samples }: { scenes: number; points: number; samples: number },
  steps: number,
  threads: number,
): Program | null {
  if (!existsSync(torchMiniDiffuser)) return null;
  const options = { batch: scenes, points, samples, threads, steps: steps - 1, warmup: 1 };
  const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  return { command: "/usr/bin/python3", args: ["-B", torchMiniDiffuser, "bench", ...flags] };
}
