import { rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { ask } from "./ask.js";
import { run } from "./process.js";

/**
 * Compiles the addon for one device with all cores: that of `nvidia-smi`, or the compute capability that MD_GPU_ARCH
 * names ("90"). Returns the file, or why there is none.
 */
export async function buildAddon(
  stage: string,
  log: string,
  limitMs: number,
): Promise<{ file: string; architecture: string; wrong: string | null }> {
  const { line, reason } = ask("nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader");
  const architecture = process.env.MD_GPU_ARCH ?? line?.replace(".", "") ?? "";
  const folder = resolve(".cache", "gpu-build");
  const file = join(folder, "md_native.node");
  const failed = (wrong: string) => ({ file, architecture, wrong });
  if (!/^\d+a?$/.test(architecture)) return failed(`which device to compile for is unknown; ${reason}; MD_GPU_ARCH=90`);
  const include = resolve(stage, "include");
  // CMake's own choice is make, which not every machine has.
  const generator = ask("ninja", "--version").line === null ? [] : ["-G", "Ninja"];
  const ends = Date.now() + limitMs;
  // A binary of an earlier run must not pass for this one's.
  rmSync(file, { force: true });
  for (const args of [
    [
      ...["-S", "native", "-B", folder, ...generator, "-DMD_CUDA=on", `-DMD_CUDA_ARCH=${architecture}`],
      ...[`-DCMAKE_JS_INC=${join(include, "node-api")}`, `-DNODE_ADDON_API_DIR=${join(include, "node-addon-api")}`],
    ],
    ["--build", folder, "--target", "md_native", "--parallel", String(availableParallelism())],
  ]) {
    const { wrong, tail } = await run("cmake", args, { log, limitMs: ends - Date.now() });
    if (wrong !== null) return failed(`cmake ${wrong}\n${tail}`);
  }
  return { file, architecture, wrong: null };
}
