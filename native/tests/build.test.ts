import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const build = fileURLToPath(new URL("../scripts/build.mjs", import.meta.url));

test("a build without tools names each that is missing and how to get it", () => {
  const env = { PATH: "", CXX: undefined };
  const { status, stderr } = spawnSync(process.execPath, [build], { env, encoding: "utf8" });
  expect(status).toBe(1);
  expect(stderr).toMatch(/CMake >= 3\.18 is missing\. Install it: .*cmake/);
  expect(stderr).toMatch(/C\+\+20 compiler is missing\. Install it: .*g\+\+/);
  expect(stderr).toMatch(/make or ninja is missing\. Install it: .*make/);
});
