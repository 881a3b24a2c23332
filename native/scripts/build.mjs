// Compiles the addon with cmake-js, or says which tool is missing and how to get it. MD_CUDA=off|on|auto: CUDA kernels
// not at all, or else an error, or where nvcc is found (default). An argument names another target than the addon.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const has = (command) => spawnSync(command, ["--version"], { stdio: "ignore" }).status === 0;
const remedies = [
  [["cmake"], "CMake >= 3.18", "apt-get install cmake | brew install cmake"],
  [[process.env.CXX ?? "c++", "g++", "clang++"], "a C++20 compiler", "apt-get install g++ | xcode-select --install"],
  [["make", "ninja"], "make or ninja", "apt-get install make | brew install ninja"],
];
const missing = remedies.filter(([commands]) => !commands.some(has));
if (missing.length > 0) {
  for (const [, what, how] of missing) console.error(`@md/native: ${what} is missing. Install it: ${how}`);
  process.exit(1);
}
const cmakeJs = createRequire(import.meta.url).resolve("cmake-js/bin/cmake-js");
const target = process.argv[2];
const common = ["--out", "build", "--log-level", "warn", `--CDMD_CUDA=${process.env.MD_CUDA ?? "auto"}`];
// Configured each time: a build alone would keep the options of the first one.
for (const command of [
  ["configure"],
  ["build", "--parallel", String(availableParallelism()), ...(target ? ["--target", target] : [])],
]) {
  const { status } = spawnSync(process.execPath, [cmakeJs, ...command, ...common], { cwd: root, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}
