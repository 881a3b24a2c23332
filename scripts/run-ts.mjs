// Runs a TypeScript file of this repository on the packages' sources: node scripts/run-ts.mjs FILE [arguments]
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const [file, ...args] = process.argv.slice(2);
if (!file) {
  console.error("usage: node scripts/run-ts.mjs FILE [arguments]");
  process.exit(2);
}

// Our TypeScript packages are bundled from source; the addon and libraries are loaded as they are.
const externals = {
  name: "externals",
  setup: ({ onResolve }) =>
    onResolve({ filter: /^[^./]/ }, ({ path }) =>
      path.startsWith("@md/") && !path.startsWith("@md/native") ? undefined : { path, external: true },
    ),
};

// Inside the repository, so that node finds the libraries.
const folder = join(root, "node_modules", ".cache", "run-ts");
const outfile = join(folder, `${basename(file, ".ts")}-${process.pid}.mjs`);
mkdirSync(folder, { recursive: true });
try {
  await build({
    entryPoints: [resolve(file)],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    conditions: ["@md/source"],
    plugins: [externals],
    sourcemap: "inline",
    logLevel: "error",
  });
  const { status } = spawnSync(process.execPath, ["--enable-source-maps", outfile, ...args], { stdio: "inherit" });
  process.exitCode = status ?? 1;
} finally {
  rmSync(outfile, { force: true });
}
