// C++ unit tests, and with --sanitize the op-case table on an addon built with the address and undefined-behaviour
// sanitizers: node native/scripts/test-native.mjs [--sanitize]
import { execFileSync, spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const repository = join(root, "..");
const sanitize = process.argv.includes("--sanitize");
const flags = [`-DMD_SANITIZE=${sanitize ? "ON" : "OFF"}`];

function run(command, args, options = {}) {
  const { status } = spawnSync(command, args, { stdio: "inherit", cwd: root, ...options });
  if (status !== 0) process.exit(status ?? 1);
}

const parallel = String(availableParallelism());
const testsDirectory = join(root, sanitize ? "build/tests-asan" : "build/tests");
run("cmake", ["-S", root, "-B", testsDirectory, "-DMD_NATIVE_TESTS=ON", ...flags, "--log-level=WARNING"]);
run("cmake", ["--build", testsDirectory, "--parallel", parallel]);
run(join(testsDirectory, "md_native_tests"), []);

if (sanitize) {
  const require = createRequire(import.meta.url);
  const out = join(root, "build", "addon-asan");
  const cmakeJs = require.resolve("cmake-js/bin/cmake-js");
  run(process.execPath, [
    cmakeJs,
    "build",
    "--out",
    out,
    "--parallel",
    parallel,
    "--CDMD_SANITIZE=ON",
    "--log-level",
    "warn",
  ]);
  const runtime = execFileSync(process.env.CXX ?? "c++", ["-print-file-name=libasan.so"], { encoding: "utf8" }).trim();
  const vitest = join(repository, "node_modules", "vitest", "vitest.mjs");
  run(process.execPath, [vitest, "run", "packages/tensor/test"], {
    cwd: repository,
    env: {
      ...process.env,
      LD_PRELOAD: runtime,
      // Node and V8 keep memory until exit on purpose; leaks of ours show in memory() and in the tests of scopes.
      ASAN_OPTIONS: "detect_leaks=0",
      MD_NATIVE_BINARY: join(out, "Release", "md_native.node"),
    },
  });
}
