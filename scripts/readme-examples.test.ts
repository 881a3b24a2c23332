import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { readmeExample } from "./readme-example.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const packages = [
  "native",
  ...readdirSync(join(root, "packages"))
    .map((name) => join("packages", name))
    .filter((directory) => existsSync(join(root, directory, "package.json"))),
];

test.each(packages)(
  "the first example of %s/README.md runs",
  (directory) => {
    const folder = mkdtempSync(join(tmpdir(), "readme-example-"));
    try {
      // Resolves the packages as a program next to them would, from source; whatever it writes stays in the folder.
      symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
      writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
      const { file, code } = readmeExample(join(root, directory));
      writeFileSync(join(folder, file), code);
      const args = ["--conditions", "@md/source", "--import", import.meta.resolve("tsx"), file];
      const printed = execFileSync(process.execPath, args, { cwd: folder, encoding: "utf8", timeout: 170_000 });
      expect(printed).not.toBe("");
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
  180_000,
);
