// Publishes every package to a registry on this machine, from a copy of the working tree, and uses each of them alone in
// an empty folder.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildFromTarball, install, use } from "./consumer.js";
import { rehearseRelease } from "./release.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "check-packages-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const result = await work();
  console.log(`${what} (${((performance.now() - start) / 1000).toFixed(0)} s)`);
  return result;
}

function packageNames(): string[] {
  const directories = ["native", ...readdirSync(join(root, "packages")).map((name) => join("packages", name))];
  return directories.map((directory) => {
    const manifest = JSON.parse(readFileSync(join(root, directory, "package.json"), "utf8")) as { name: string };
    return manifest.name;
  });
}

const published = await step("built in a fresh copy, versioned and published by lerna", () =>
  rehearseRelease(root, join(folder, "release")),
);
for (const name of packageNames()) {
  const one = published.get(name);
  if (!one) throw new Error(`lerna did not publish ${name}`);
  const size = `${(one.tarball.length / 1024).toFixed(0)} KiB`;
  const consumer = join(folder, "consumers", name);
  await step(`${name}@${one.version}, ${size}: installed, imported, type-checked, its example run`, async () => {
    await install(name, published, consumer);
    await use(name, consumer);
  });
}
await step("@md/native without a binary: built by the command that its error names", () =>
  buildFromTarball(join(folder, "consumers", "@md/native")),
);
console.log("every package works from its tarball");
