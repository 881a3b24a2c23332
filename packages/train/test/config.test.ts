import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ConfigLayer, resolveConfig, resolveModel } from "../src/config/resolve.js";
import { parseOverride, readConfigFile, readPreset } from "../src/config/sources.js";
import { ConfigError } from "../src/errors.js";

const policyDefaults = { embedDim: 72, binCells: [16], betaSchedule: "squaredcos_cap_v2" };
const resolve = (...layers: ConfigLayer[]): ReturnType<typeof resolveConfig> => resolveConfig(layers, policyDefaults);
const values = (content: unknown): ConfigLayer => ({ source: "test", values: content });

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), "md-config-"))));
afterAll(() => rmSync(folder, { recursive: true }));
const write = (content: string): string => {
  const file = join(folder, "config.yaml");
  writeFileSync(file, content);
  return file;
};

describe("configuration", () => {
  it("overlays layers key by key over defaults", () => {
    const file = write("seed: 3\npolicy:\n  embedDim: 96\ndata:\n  points: 512\n");
    const config = resolve(
      readConfigFile(file),
      parseOverride("policy.embedDim=48"),
      parseOverride("data.tableHeight=null"),
    );
    expect(config.seed).toBe(3);
    expect(config.policy).toEqual({ embedDim: 48, binCells: [16], betaSchedule: "squaredcos_cap_v2" });
    expect(config.data.points).toBe(512);
    expect(config.data.tableHeight).toBeNull();
    expect(config.optimizer.beta2).toBe(0.98);
  });

  it("reads override values as YAML", () => {
    expect(resolve(parseOverride("policy.binCells=[8, 16]")).policy["binCells"]).toEqual([8, 16]);
    expect(resolve(parseOverride("data.cameras=[front]")).data.cameras).toEqual(["front"]);
    expect(resolve(parseOverride("optimizer.learningRate=3e-4")).optimizer.learningRate).toBe(3e-4);
  });

  it("refuses unknown keys with the nearest name", () => {
    expect(() => resolve(values({ trainning: {} }))).toThrow("[test] trainning is unknown; did you mean training?");
    expect(() => resolve(parseOverride("policy.embedDims=96"))).toThrow(
      /policy.embedDims is unknown; did you mean policy.embedDim\?/,
    );
    expect(() => resolve(parseOverride("training.batchsize=4"))).toThrow(/did you mean training.batchSize\?/);
  });

  it("names wrong types and values", () => {
    expect(() => resolve(values({ seed: "one" }))).toThrow(
      '[test] seed is "one" (a text), expected an integer of at least 0',
    );
    expect(() => resolve(parseOverride("training.steps=0"))).toThrow(
      /training.steps is 0 \(a number\), expected an integer of at least 1, or null/,
    );
    expect(() => resolve(parseOverride("policy.embedDim=wide"))).toThrow(
      /policy.embedDim is "wide" \(a text\), expected a number/,
    );
    expect(() => resolve(parseOverride("data=3"))).toThrow(/data is 3 \(a number\), expected a section/);
    expect(() => resolve(values([]))).toThrow(/expected a section/);
    expect(() => resolve(parseOverride("optimizer.learningRate=.nan"))).toThrow(ConfigError);
  });

  it("names the words that a choice has", () => {
    const { data } = resolve(parseOverride("data.removeRobot=arm and gripper"), parseOverride("data.sampling=uniform"));
    expect(data).toMatchObject({ removeRobot: "arm and gripper", sampling: "uniform", pointJitter: 0 });
    expect(() => resolve(parseOverride("data.sampling=gripper"))).toThrow(
      /data\.sampling is "gripper" \(a text\), expected "uniform" or "near gripper"/,
    );
  });

  it("does not let a key reach a prototype", () => {
    expect(() => resolve(parseOverride("__proto__.polluted=1"))).toThrow(/__proto__ is unknown/);
    expect(() => resolve(readConfigFile(write("__proto__:\n  polluted: 1\n")))).toThrow(/__proto__ is unknown/);
    expect(() => resolve(parseOverride("data.constructor.x=1"))).toThrow(/data.constructor is unknown/);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });

  it("names files that are absent, no YAML, or expand without end", () => {
    expect(() => readConfigFile(join(folder, "absent.yaml"))).toThrow(/absent.yaml\] cannot be read/);
    expect(() => readConfigFile(write("a: [1"))).toThrow(/is no YAML/);
    const bomb = ["a: &a [x, x, x, x, x, x, x, x, x]"];
    for (const [name, other] of ["ba", "cb", "dc", "ed", "fe"])
      bomb.push(`${name}: &${name} [${Array(9).fill(`*${other}`).join(", ")}]`);
    expect(() => readConfigFile(write(bomb.join("\n")))).toThrow(ConfigError);
    expect(() => parseOverride("policy.embedDim")).toThrow(/no assignment/);
    expect(() => readConfigFile(write('a: "\\UFFFFFFFF"'))).toThrow(ConfigError);
  });

  it("refuses what is nested deeper than the parser can follow, before it is parsed", () => {
    const flow = (depth: number): string => `a: ${"[".repeat(depth)}${"]".repeat(depth)}`;
    const blocks = Array.from({ length: 1100 }, (_, depth) => `${" ".repeat(depth)}a:\n`).join("");
    const nested = [flow(1001), flow(500_000), "{a: ".repeat(1000), "- ".repeat(5000), "? ".repeat(5000), blocks];
    for (const text of nested) {
      expect(() => readConfigFile(write(text))).toThrow(ConfigError);
      expect(() => readConfigFile(write(text))).toThrow(/config\.yaml\] has more than 1000 entries/);
    }
    expect(() => parseOverride(`policy.a=${flow(5000).slice(3)}`)).toThrow(/has more than 1000 entries/);
    // What is let through ends in time, and in this process.
    for (const text of [flow(999), "- ".repeat(999), "? ".repeat(999), blocks.slice(0, 400_000)]) {
      const start = process.cpuUsage();
      try {
        readConfigFile(write(text));
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigError);
      }
      expect(process.cpuUsage(start).user).toBeLessThan(500_000);
    }
  });

  it("finds the model before all else is known", () => {
    expect(resolveModel([values({ policy: { anything: 1 } })])).toBe("mini-diffuser-light");
    expect(resolveModel([values({ model: "./mine.mjs" })])).toBe("./mine.mjs");
    expect(() => resolveModel([values({ model: 3 })])).toThrow(/model is 3/);
  });

  it("refuses an unknown preset with the nearest name", () => {
    expect(() => readPreset("dem")).toThrow(/"dem" is unknown; did you mean demo\?/);
  });
});
