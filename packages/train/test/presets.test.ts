import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { getPolicy } from "@md/diffusion";
import { Generator } from "@md/tensor";
import { resolveConfig, resolveModel } from "../src/config/resolve.js";
import { readPreset } from "../src/config/sources.js";
import { presetFile, presetNames } from "../src/presets.js";
import { remainingSignalWarning } from "../src/run/signal.js";

describe("presets", () => {
  it.each(presetNames())("%s is valid, has an end, and states its GFLOP a step truly", async (name) => {
    const layers = [readPreset(name)];
    const factory = getPolicy(resolveModel(layers));
    const config = resolveConfig(layers, factory.defaults);
    const { steps, maxMinutes, batchSize } = config.training;
    expect(steps ?? maxMinutes).not.toBeNull();
    const positionBounds = { min: [-1, -1, 0], max: [1, 1, 2] };
    const { instructionDim, points } = config.data;
    const policy = factory.create(config.policy, { positionBounds, instructionDim }, new Generator(0));
    expect(remainingSignalWarning(policy.config)).toBeNull();
    const comment = readFileSync(presetFile(name), "utf8");
    const [, stated, words] = /([\d.]+) GFLOP a step with instructions of (\d+) words/.exec(comment)!;
    const flops = policy.stepFlops({ size: batchSize, pointsPerScene: points, instructionTokens: Number(words) });
    policy.dispose();
    // As the command prints it.
    expect(stated).toBe((flops / 1e9).toFixed(1));
  });
});
