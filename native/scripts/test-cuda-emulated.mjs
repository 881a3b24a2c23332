// Builds the addon with an emulated CUDA device, and runs what there is for one: planted faults that the emulation must
// find, then the op-case table, the policies and a training run on the device: node native/scripts/test-cuda-emulated.mjs
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const repository = join(root, "..");

function run(command, args, options = {}) {
  const { status } = spawnSync(command, args, { stdio: "inherit", cwd: repository, ...options });
  if (status !== 0) process.exit(status ?? 1);
}

const compiles = spawnSync(process.env.CXX ?? "c++", ["--version"], { stdio: "ignore" }).status === 0;
if (!compiles) {
  console.log("test:cuda:emulated: skipped, no C++ compiler was found");
  process.exit(0);
}
// Of the same objects as the addon itself: only the .cu files are compiled once more.
run(process.execPath, [join(root, "scripts", "build.mjs"), "md_emulation"]);
run(join(root, "build", "emulation", "md_emulation_tests"), []);
const vitest = join(repository, "node_modules", "vitest", "vitest.mjs");
const tests = [
  "packages/tensor/test/cuda",
  "packages/nn/test/cuda",
  "packages/diffusion/test/cuda",
  "packages/train/test/cuda",
  "benchmarks/test/device.test.ts",
  "scripts/gpu",
];
run(process.execPath, [vitest, "run", "--project", "main", ...tests], {
  env: { ...process.env, MD_NATIVE_BINARY: join(root, "build", "Release", "md_native_emulated.node") },
});
