import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { compileKernels, kernelsFile } from "./compile-kernels.js";

test("kernels-wasm.ts is what kernels.wat compiles to", async () => {
  expect(await compileKernels(), "run `npm run build:kernels`").toBe(readFileSync(kernelsFile, "utf8"));
});
