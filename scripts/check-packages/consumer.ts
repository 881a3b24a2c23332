import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { readmeExample } from "../readme-example.js";
import { run } from "./command.js";
import { type PublishedPackage } from "./registry.js";

const require = createRequire(import.meta.url);
const typescript = require.resolve("typescript/bin/tsc");
const typeRoots = join(require.resolve("@types/node/package.json"), "..", "..");

interface Manifest {
  exports: unknown;
  bin?: Record<string, string>;
}

/** `name` and everything of `published` that it needs. */
function withDependencies(
  name: string,
  published: Map<string, PublishedPackage>,
  found = new Set<string>(),
): Set<string> {
  found.add(name);
  for (const dependency of Object.keys(published.get(name)?.dependencies ?? {})) {
    if (published.has(dependency) && !found.has(dependency)) withDependencies(dependency, published, found);
  }
  return found;
}

/** Installs one package, with those of the workspace that it depends on, into the empty folder `folder`. */
export async function install(name: string, published: Map<string, PublishedPackage>, folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), '{ "private": true, "type": "module" }');
  const files: string[] = [];
  for (const dependency of withDependencies(name, published)) {
    const file = `${dependency.replace("/", "-")}.tgz`;
    writeFileSync(join(folder, file), (published.get(dependency) as PublishedPackage).tarball);
    files.push(`./${file}`);
  }
  await run("npm", ["install", "--no-audit", "--no-fund", ...files], { cwd: folder });
}

/** Every file that a manifest's `exports` names, whatever the condition. */
function exportedFiles(exports: unknown): string[] {
  if (typeof exports === "string") return [exports];
  return Object.values(exports as Record<string, unknown>).flatMap(exportedFiles);
}

function importProgram(name: string): string {
  return `if (Object.keys(await import(${JSON.stringify(name)})).length === 0) throw new Error("exports nothing");`;
}

/**
 * Uses the package installed in `folder` as a stranger would: the exported files are there, it is imported from
 * JavaScript and from strictly checked TypeScript, its README's first example is compiled and run, its commands answer.
 */
export async function use(name: string, folder: string): Promise<void> {
  const installed = join(folder, "node_modules", name);
  const manifest = JSON.parse(readFileSync(join(installed, "package.json"), "utf8")) as Manifest;
  for (const file of exportedFiles(manifest.exports)) readFileSync(join(installed, file));

  await run(process.execPath, ["--input-type=module", "--eval", importProgram(name)], { cwd: folder });

  const example = readmeExample(installed);
  const compilerOptions = {
    target: "ES2022",
    module: "NodeNext",
    strict: true,
    skipLibCheck: false,
    allowJs: true,
    typeRoots: [typeRoots],
    types: ["node"],
    outDir: "compiled",
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["import.ts", example.file] }));
  writeFileSync(
    join(folder, "import.ts"),
    `import * as everything from ${JSON.stringify(name)};\nexport const names: string[] = Object.keys(everything);\n`,
  );
  writeFileSync(join(folder, example.file), example.code);
  await run(process.execPath, [typescript, "--project", "tsconfig.json"], { cwd: folder });
  await run(process.execPath, ["compiled/example.js"], { cwd: folder });

  for (const command of Object.keys(manifest.bin ?? {})) {
    await run("npx", ["--no-install", command, "--help"], { cwd: folder });
  }
}

/** Takes the packaged binary away from the @md/native installed in `folder` and follows the error's advice. */
export async function buildFromTarball(folder: string): Promise<void> {
  const prebuilds = join(folder, "node_modules", "@md", "native", "prebuilds");
  renameSync(prebuilds, `${prebuilds}.away`);
  const load = ["--input-type=module", "--eval", importProgram("@md/native")];
  const printed = await run(process.execPath, load, { cwd: folder, fails: true });
  const advice = /UnsupportedError: [^]*?\(needs CMake and a C\+\+20 compiler\): (.+)$/m.exec(printed);
  if (!advice) throw new Error(`@md/native without a binary names no command that builds one:\n${printed}`);
  await run("sh", ["-c", advice[1]], { cwd: folder });
  await run(process.execPath, load, { cwd: folder });
}
