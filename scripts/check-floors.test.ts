import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const script = fileURLToPath(new URL("check-floors.mjs", import.meta.url));

function check(folder: string): { status: number | null; stderr: string } {
  return spawnSync(process.execPath, [script, folder], { encoding: "utf8" });
}

// Checks a tree of packages and the given files.
function checkFiles(files: Readonly<Record<string, string>>): { status: number | null; stderr: string } {
  const root = mkdtempSync(join(tmpdir(), "floors-"));
  const manifest = JSON.stringify({ exports: { ".": "./src/index.ts" } });
  const manifests = ["tensor", "pickle", "nn", "train", "rlbench-data"].map((name) => [
    `packages/${name}/package.json`,
    manifest,
  ]);
  try {
    for (const [path, text] of [...manifests, ...Object.entries(files)] as [string, string][]) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    return check(root);
  } finally {
    rmSync(root, { recursive: true });
  }
}

test("this repository keeps its floors", () => {
  const { status, stderr } = check(fileURLToPath(new URL("..", import.meta.url)));
  expect(stderr).toBe("");
  expect(status).toBe(0);
});

test("imports that run downward pass", () => {
  const result = checkFiles({
    "packages/nn/src/lower-floor.ts": 'import { add } from "@md/tensor";',
    "packages/nn/test/same-package.ts": 'import { b } from "../src/b.js";',
    "packages/tensor/src/comment.ts": '// import "@md/nn";',
    "packages/train/src/data.ts": 'import "@md/rlbench-data";',
    "packages/nn/src/weights.ts": 'import { unpickle } from "@md/pickle";',
    "packages/rlbench-data/src/pickles.ts": 'import { unpickle } from "@md/pickle";',
    "native/binding/node.cpp": "#include <napi.h>",
    "native/isa/simd.h": "#include <immintrin.h>\nusing V = __m256;",
  });
  expect(result).toMatchObject({ status: 0, stderr: "" });
});

describe("refuses", () => {
  const refused = [
    ["packages/tensor/src/import.ts", '\nimport { Linear } from "@md/nn";', ":2: @md/tensor stands below"],
    ["packages/tensor/src/type.ts", 'import type { Linear } from "@md/nn";', ":1: @md/tensor stands below"],
    ["packages/tensor/src/export.ts", 'export * from "@md/nn";', ":1: @md/tensor stands below"],
    ["packages/tensor/src/dynamic.ts", 'await import("@md/nn");', ":1: @md/tensor stands below"],
    ["packages/rlbench-data/src/tensors.ts", 'import "@md/tensor";', ":1: @md/rlbench-data stands below or beside"],
    ["packages/pickle/src/tensors.ts", 'import "@md/tensor";', ":1: @md/pickle stands below or beside"],
    ["packages/nn/src/deep.ts", 'import "@md/tensor/src/tensor.js";', ":1: @md/tensor/src/tensor.js is not exported"],
    ["packages/nn/test/out.ts", 'import "../../tensor/src/tensor.js";', ":1: ../../tensor/src/tensor.js leaves"],
    ["examples/sources.ts", 'import "../packages/nn/src/a.js";', ":1: ../packages/nn/src/a.js reaches into"],
    ["native/ops/a/op.cpp", "#include <napi.h>", ":1: only native/binding includes napi.h"],
    ["native/ops/a/header.cpp", "#include <immintrin.h>", ":1: only native/isa includes immintrin.h"],
    ["native/ops/a/cpu.cpp", "auto x = _mm256_setzero_ps();", ":1: only native/isa uses _mm256_setzero_ps"],
    ["native/ops/a/binding.cpp", '#include "../../binding/call.h"', ":1: native/ops stands below native/binding"],
    ["native/core/a.cpp", '#include "../ops/a/op.h"', ":1: native/core stands below native/ops"],
  ] as const;
  const { status, stderr } = checkFiles(Object.fromEntries(refused.map(([path, text]) => [path, text])));

  test.each(refused)("%s: %s", (path, _, message) => {
    expect(stderr).toContain(`${path}${message}`);
  });
  test("with one line for each, and status 1", () => {
    expect(stderr.trim().split("\n").length).toBe(refused.length);
    expect(status).toBe(1);
  });
});
