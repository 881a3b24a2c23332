import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { basename, join } from "node:path";
import { build } from "tsup";

const folder = import.meta.dirname;

/**
 * Compiles C sources of this folder for this very processor into `build/`, which git ignores; returns the program's path.
 * Error with the compiler's first complaint.
 */
export function compile(program: string, sources: readonly string[], flags: readonly string[]): string {
  const output = join(folder, "build", program);
  mkdirSync(join(folder, "build"), { recursive: true });
  const compiler = process.env["CC"] ?? "cc";
  const common = ["-O3", "-march=native", "-Wall", "-Wextra", "-Werror", "-o", output];
  const { error, status, stderr } = spawnSync(
    compiler,
    [...common, ...sources.map((source) => join(folder, source)), ...flags],
    { encoding: "utf8" },
  );
  if (error) throw new Error(`${compiler}: ${error.message}`);
  if (status !== 0) {
    const complaint = stderr.split("\n").find((line) => /error|cannot/.test(line));
    throw new Error(`${compiler}: ${complaint ?? `ended with ${status} and said no more`}`);
  }
  return output;
}

/**
 * Bundles a program in TypeScript of this folder with the packages that it uses, the addon aside, into `build/`: as it
 * would be published, without the loader that runs sources. Returns the file, for `node`.
 */
export async function bundle(source: string): Promise<string> {
  await build({
    entry: [join(folder, source)],
    outDir: join(folder, "build"),
    outExtension: () => ({ js: ".mjs" }),
    format: "esm",
    target: "node20",
    config: false,
    silent: true,
    noExternal: [/^@md\/(?!native)/],
    external: ["@md/native"],
    esbuildOptions: (options) => {
      options.conditions = ["@md/source"];
    },
  });
  return join(folder, "build", `${basename(source, ".ts")}.mjs`);
}
