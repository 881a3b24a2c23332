import { execFileSync, spawnSync } from "node:child_process";
import { expect, test } from "vitest";

const program = `import { native } from ${JSON.stringify(new URL("../index.js", import.meta.url).href)}; console.log(native.isa());`;
const args = ["--input-type=module", "--eval", program];

test("MD_ISA=baseline picks the portable kernels", () => {
  const env = { ...process.env, MD_ISA: "baseline" };
  expect(execFileSync(process.execPath, args, { env, encoding: "utf8" }).trim()).toBe("baseline");
});

test("an unknown MD_ISA is refused by name", () => {
  const env = { ...process.env, MD_ISA: "avx9000" };
  const { status, stderr } = spawnSync(process.execPath, args, { env, encoding: "utf8" });
  expect(status).toBe(1);
  expect(stderr).toMatch(/UnsupportedError: \[MD_ISA\] found 'avx9000', expected one of 'baseline'/);
});

test("an unknown MD_ISA is refused by an op whose kernels run in another thread", () => {
  const env = { ...process.env, MD_ISA: "avx9000" };
  const op = program.replace(
    "console.log(native.isa())",
    "native.setNumThreads(2); native.full(0, Int32Array.of(1 << 20), 1)",
  );
  const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", op], {
    env,
    encoding: "utf8",
  });
  expect(status).toBe(1);
  expect(stderr).toMatch(/UnsupportedError: \[MD_ISA\] found 'avx9000'/);
});
