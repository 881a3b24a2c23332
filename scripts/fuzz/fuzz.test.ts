import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { type Finding, judge, makeInput } from "./cases.js";
import { supervise } from "./supervise.js";
import type { Target } from "./target.js";
import { targets } from "./targets/index.js";

const CASES = 100;

const folder = mkdtempSync(join(tmpdir(), "fuzz-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each(targets.map((target) => [target.name, target] as const))(
  "%s: seeds and mutated inputs",
  async (_, target) => {
    const seeds = await target.seeds();
    const file = join(folder, target.name);
    // Of images, some kinds are colour and others depth: at least one of the seeds must be read.
    const verdicts = [];
    for (const { content, wrap } of seeds)
      verdicts.push(await judge({ ...target, errors: [] }, wrap ? await wrap(content) : content, file));
    expect(verdicts).toContain(null);
    for (let i = 0; i < CASES; i++)
      expect(await judge(target, await makeInput(target, seeds, 0, i), file), `case ${i}`).toBeNull();
  },
);

test("a case is a function of target, seed and number", async () => {
  const target: Target = { name: "a", seeds: () => [], parse: () => null, errors: [] };
  const seeds = [{ content: Buffer.alloc(64, "seed") }];
  const input = (changes: Partial<Target>, seed: number, number: number): Promise<Uint8Array> =>
    makeInput({ ...target, ...changes }, seeds, seed, number);
  expect(await input({}, 1, 2)).toEqual(await input({}, 1, 2));
  for (const other of [input({ name: "b" }, 1, 2), input({}, 2, 2), input({}, 1, 3)])
    expect(await other).not.toEqual(await input({}, 1, 2));
});

test("crashes, hangs, slow and hungry cases and errors without a type are found, and what follows them is run", async () => {
  const found: Finding[] = [];
  const module = new URL("./misbehaving-targets.ts", import.meta.url).href;
  const done = await supervise({
    module,
    target: "misbehaving",
    seed: 0,
    first: 0,
    end: 7,
    onFinding: (finding) => found.push(finding),
    patienceMs: 8000,
  });
  expect(done).toBe(7);
  expect(found.map(({ case: number, kind }) => [number, kind])).toEqual([
    [1, "crash"],
    [2, "hang"],
    [3, "slow"],
    [4, "memory"],
    [5, expect.stringMatching(/^error TypeError misbehaving-targets/)],
    [6, expect.stringMatching(/^nameless RangeError/)],
  ]);
}, 120_000);
