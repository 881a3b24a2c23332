import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { ConfigError } from "../src/errors.js";
import { checkOutFolder, makeOutFolder } from "../src/out-folder.js";

const folder = mkdtempSync(join(tmpdir(), "md-out-"));
afterAll(() => rmSync(folder, { recursive: true }));

it("makes a folder and those above it, and takes one that exists", () => {
  const out = join(folder, "a", "b");
  expect(checkOutFolder(out)).toEqual([join(folder, "a"), out]);
  expect(existsSync(join(folder, "a"))).toBe(false);
  makeOutFolder(out);
  makeOutFolder(out);
  expect(existsSync(out)).toBe(true);
});

it("names the flag for a place that is no folder, or cannot be made one", () => {
  const file = join(folder, "file");
  writeFileSync(file, "");
  symlinkSync(join(folder, "gone"), join(folder, "link"));
  for (const out of [file, join(file, "x", "y"), join(folder, "link"), join(folder, "x".repeat(300)), "a\0b"]) {
    expect(() => makeOutFolder(out), out).toThrow(ConfigError);
    expect(() => makeOutFolder(out), out).toThrow(/^\[--out\] is /);
  }
});
