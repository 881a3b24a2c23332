// Fills .cache/gpu with what a bare GPU machine lacks, for scripts/gpu/check: Node, the headers of the addon, the check
// itself in one file, golden files, and PyTorch as a peer. Prints the size of each part; 1 above 45 MiB.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { goldensFolder } from "../../packages/rlbench-data/test/support/paths.js";
import { torchMiniDiffuser } from "../../benchmarks/peers/torch-mini-diffuser.js";
import { isMiniDiffuser } from "../goldens/check-mini-diffuser.js";
import { isOps } from "../goldens/check-ops.js";
import { type GoldenFile, readGolden } from "../goldens/golden-file.js";
import { bundleCheck } from "./bundle.js";

const LIMIT_MIB = 45;
const root = join(import.meta.dirname, "..", "..");
const stage = join(root, ".cache", "gpu");
const require = createRequire(import.meta.url);

/** Recompressing Node takes a minute: kept beside the folder for the next time. */
function stageNode(): void {
  const kept = join(root, ".cache", `node-${process.version}-${process.platform}-${process.arch}.tar.xz`);
  if (!existsSync(kept)) {
    const folder = mkdtempSync(join(root, ".cache", "node-"));
    try {
      cpSync(process.execPath, join(folder, "node"), { dereference: true });
      const partial = join(folder, "node.tar.xz");
      const { status, error } = spawnSync("tar", ["-cJf", partial, "-C", folder, "node"], {
        stdio: "inherit",
        env: { ...process.env, XZ_OPT: "-6 -T0" },
      });
      if (status !== 0) throw error ?? new Error(`tar left with status ${status}; it needs xz`);
      renameSync(partial, kept);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  cpSync(kept, join(stage, "node.tar.xz"));
}

function stageHeaders(): void {
  const nodeApi = (require("node-api-headers") as { include_dir: string }).include_dir;
  cpSync(nodeApi, join(stage, "include", "node-api"), { recursive: true });
  const addonApi = dirname(require.resolve("node-addon-api/package.json"));
  for (const name of readdirSync(addonApi).filter((name) => name.endsWith(".h")))
    cpSync(join(addonApi, name), join(stage, "include", "node-addon-api", name));
}

function stageGoldens(): void {
  if (!existsSync(goldensFolder)) {
    console.log("golden files: none, MD_GOLDENS names no folder that is there; the check will skip them");
    return;
  }
  const files = readdirSync(goldensFolder).filter((name) => name.endsWith(".safetensors"));
  const runs = (golden: GoldenFile): boolean => isOps(golden) || isMiniDiffuser(golden);
  for (const name of files.filter((name) => runs(readGolden(join(goldensFolder, name)))))
    cpSync(join(goldensFolder, name), join(stage, "goldens", name));
}

function stagePeer(): void {
  for (const name of ["torch_peer.py", "torch_ops.py"])
    cpSync(join(root, "benchmarks", "peers", name), join(stage, "peers", name));
  if (existsSync(torchMiniDiffuser)) cpSync(torchMiniDiffuser, join(stage, "peers", "torch_mini_diffuser.py"));
  else console.log(`Mini-Diffuser in PyTorch: ${torchMiniDiffuser} is absent; its training step will not be a peer`);
}

function bytesOf(path: string): number {
  const found = statSync(path);
  return found.isDirectory() ? readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), 0) : found.size;
}

rmSync(stage, { recursive: true, force: true });
mkdirSync(stage, { recursive: true });
stageNode();
stageHeaders();
await bundleCheck(stage);
stageGoldens();
stagePeer();
const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(2).padStart(6)} MiB`;
for (const name of readdirSync(stage)) console.log(`${mebibytes(bytesOf(join(stage, name)))}  ${name}`);
const total = bytesOf(stage);
console.log(`${mebibytes(total)}  together, at most ${LIMIT_MIB} MiB, in .cache/${basename(stage)}`);
if (total > LIMIT_MIB * 2 ** 20) process.exitCode = 1;
