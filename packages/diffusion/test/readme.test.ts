import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { afterAll, beforeAll, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "mini-diffuser-example-"));
const file = join(folder, "example.js");

beforeAll(() => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const section = readme.slice(readme.indexOf("\n### MiniDiffuser\n"));
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  writeFileSync(file, /^```js\n(.*?)^```$/ms.exec(section)![1]!);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("the example of MiniDiffuser learns, and prints candidates within the bounds", () => {
  const args = ["--conditions", "@md/source", "--import", import.meta.resolve("tsx"), file];
  const printed = execFileSync(process.execPath, args, { cwd: folder, encoding: "utf8", timeout: 1180_000 });
  const lines = printed.trim().split("\n");
  const losses = lines.slice(0, -1).map((line) => Number(/loss (.*)$/.exec(line)![1]));
  expect(losses).toHaveLength(4);
  expect(losses[3], printed).toBeLessThan(0.75 * losses[0]!);
  const positions = lines.at(-1)!.split(" ").map(Number);
  expect(positions).toHaveLength(2 * 2 * 3);
  for (const x of positions) expect(x >= -0.2 && x <= 0.4, printed).toBe(true);
}, 180_000);

it("the example of MiniDiffuser has the types of the sources", () => {
  const host = { ...ts.sys, onUnRecoverableConfigFileDiagnostic: () => expect.fail("tsconfig.json cannot be read") };
  const { options } = ts.getParsedCommandLineOfConfigFile(join(root, "tsconfig.json"), {}, host)!;
  const program = ts.createProgram([file], { ...options, allowJs: true, checkJs: true, strict: false });
  const found = ts.getPreEmitDiagnostics(program, program.getSourceFile(file));
  expect(found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"))).toEqual([]);
}, 180_000);
