import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";
import { readmeExample, readmeExamples } from "./readme-example.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const packages = [
  "native",
  ...readdirSync(join(root, "packages"))
    .map((name) => join("packages", name))
    .filter((directory) => existsSync(join(root, directory, "package.json"))),
];

/** A folder that resolves the packages as a program next to them would, from source; whatever is written stays in it. */
function inFolder(body: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), "readme-example-"));
  try {
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
    body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const examples = packages.flatMap((directory) =>
  readmeExamples(join(root, directory)).map((example, i) => ({ directory, number: i + 1, ...example })),
);

test.each(packages)("%s/README.md has an example", (directory) => {
  expect(readmeExample(join(root, directory)).code).not.toBe("");
});

test.each(examples)(
  "example $number of $directory/README.md runs",
  ({ file, code }) => {
    inFolder((folder) => {
      writeFileSync(join(folder, file), code);
      const args = ["--conditions", "@md/source", "--import", import.meta.resolve("tsx"), file];
      const printed = execFileSync(process.execPath, args, { cwd: folder, encoding: "utf8", timeout: 170_000 });
      expect(printed).not.toBe("");
    });
  },
  180_000,
);

/** What the compiler finds in the files. JavaScript names no types, so it is not checked strictly. */
function typeErrors(files: readonly string[]): string {
  const host = { ...ts.sys, onUnRecoverableConfigFileDiagnostic: () => expect.fail("tsconfig.json cannot be read") };
  const { options } = ts.getParsedCommandLineOfConfigFile(join(root, "tsconfig.json"), {}, host)!;
  const lenient = { ...options, allowJs: true, checkJs: true, strict: false };
  const found = [options, lenient].flatMap((compilerOptions, i) => {
    const checked = files.filter((file) => extname(file) === [".ts", ".js"][i]);
    const program = ts.createProgram(checked, compilerOptions);
    return checked.flatMap((file) => ts.getPreEmitDiagnostics(program, program.getSourceFile(file)));
  });
  const format = {
    getCanonicalFileName: (name: string) => name,
    getCurrentDirectory: () => root,
    getNewLine: () => "\n",
  };
  return ts.formatDiagnostics(found, format);
}

test("the examples of the READMEs have the types of the sources", () => {
  inFolder((folder) => {
    const write = (name: string, code: string): string => {
      writeFileSync(join(folder, name), code);
      return join(folder, name);
    };
    const files = examples.map(({ directory, number, file, code }) =>
      write(`${directory.replace("/", "-")}-${number}${extname(file)}`, code),
    );
    expect(typeErrors(files)).toBe("");
    for (const extension of ["js", "ts"]) {
      const wrong = write(`wrong.${extension}`, 'import { randn } from "@md/tensor";\nrandn([2], { generater: 1 });\n');
      expect(typeErrors([wrong])).toMatch(/wrong\.[jt]s\(2,14\): error TS\d+: .*generater/);
    }
  });
}, 180_000);
