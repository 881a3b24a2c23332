import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Generator, mulberry32, scope } from "@md/tensor";
import type { PolicyFactory } from "@md/diffusion";
import { AdamW } from "@md/train";
import { describe, expect, it } from "vitest";

const folder = import.meta.dirname;
const run = (file: string, ...args: string[]): string =>
  execFileSync(process.execPath, ["--conditions", "@md/source", "--import", "tsx", join(folder, file), ...args], {
    encoding: "utf8",
  });

describe("examples", () => {
  it("own-op.ts checks its gradient", () => {
    expect(run("own-op.ts")).toMatch(/^softCap -1.990 .*\ngradient 0.010 /);
  });

  it("own-arrays.ts learns without RLBench", () => {
    const output = run("own-arrays.ts", "150");
    const losses = [...output.matchAll(/loss ([\d.]+)/g)].map((match) => Number(match[1]));
    expect(losses.at(-1)).toBeLessThan(0.8 * losses[0]!);
    const errors = output
      .match(/error in cm: (.*)/)![1]!
      .split(" ")
      .map(Number);
    expect(errors.every((error) => error < 30)).toBe(true);
  });

  it("own-policy.mjs is a policy of at most 60 lines that trains and samples", async () => {
    const file = join(folder, "own-policy.mjs");
    expect(readFileSync(file, "utf8").trimEnd().split("\n").length).toBeLessThanOrEqual(60);
    const { default: factory } = (await import(file)) as { default: PolicyFactory };
    const generator = new Generator(1);
    const positionBounds = { min: [-1, -1, -1], max: [1, 1, 1] };
    const policy = factory.create({}, { positionBounds, instructionDim: 4 }, generator);
    const optimizer = new AdamW(policy.namedParameters(), { learningRate: 3e-3 });
    const random = mulberry32(3);
    const numbers = (length: number): Float32Array => Float32Array.from({ length }, () => random() - 0.5);
    const batch = {
      size: 2,
      pointsPerScene: 8,
      instructionTokens: 2,
      instructionDim: 4,
      points: numbers(48),
      colors: numbers(48),
      instruction: numbers(16),
      instructionLengths: Int32Array.of(2, 2),
      proprio: numbers(16),
      targetPosition: numbers(6),
      targetRotationBins: new Int32Array(6),
      targetOpen: new Float32Array(2),
    };
    const losses = Array.from({ length: 150 }, () =>
      scope(() => {
        const { loss } = policy.loss(batch, generator);
        loss.backward();
        optimizer.step();
        policy.zeroGrad();
        return loss.item();
      }),
    );
    const mean = (values: number[]): number => values.reduce((total, value) => total + value, 0) / values.length;
    expect(mean(losses.slice(-20))).toBeLessThan(0.8 * mean(losses.slice(0, 20)));
    const { position } = policy.sample(batch, { candidates: 3, generator });
    expect(position).toHaveLength(18);
    expect(position.every(Number.isFinite)).toBe(true);
    optimizer.dispose();
    policy.dispose();
  });
});
