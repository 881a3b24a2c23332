import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readSafetensors, writeSafetensors } from "@md/nn";
import { tensor } from "@md/tensor";
import { Checkpoint } from "../src/checkpoint/checkpoint.js";
import { resolveConfig } from "../src/config/resolve.js";
import { CheckpointError } from "../src/errors.js";
import { Run } from "../src/run/run.js";
import { makeFixture, toyLayer } from "./support/fixture.js";

const { folder, data, remove } = makeFixture(2);
afterAll(remove);

const file = join(folder, "damaged.safetensors");
const metadata = {
  format: 1,
  step: 3,
  elapsedSeconds: 1,
  generator: { seed: 0, offset: 0 },
  policy: { name: "mini-diffuser-light", config: {} },
  statistics: {},
  config: resolveConfig([], {}),
  trainedOn: null,
};
const write = (content: unknown): void =>
  writeSafetensors(file, new Map([["model.a", tensor([1])]]), { minidiff: JSON.stringify(content) });

describe("Checkpoint", () => {
  it("names each key of the configuration that is missing, and takes none's default", async () => {
    const run = await Run.start({ out: folder, layers: [toyLayer], data: { root: data } });
    await run.train();
    run.dispose();
    const { metadata: header, tensors } = readSafetensors(join(folder, "checkpoint.safetensors"));
    const saved = JSON.parse(header["minidiff"]!) as { config: Record<string, Record<string, unknown>> };
    const without = async (section: string | null, key: string): Promise<Run> => {
      const copy = structuredClone(saved);
      delete (section === null ? copy.config : copy.config[section]!)[key];
      writeSafetensors(join(folder, "checkpoint.safetensors"), tensors, { minidiff: JSON.stringify(copy) });
      return Run.resume(folder);
    };
    const sections = ["policy", "data", "optimizer", "training"];
    const keys: [section: string | null, key: string][] = [
      ...["seed", "model", ...sections].map((key): [null, string] => [null, key]),
      ...sections.flatMap((name) => Object.keys(saved.config[name]!).map((key): [string, string] => [name, key])),
    ];
    expect(keys).toHaveLength(6 + 3 + 15 + 9 + 8);
    for (const [section, key] of keys) {
      if (key === "precision") continue; // Which older checkpoints do not have: they are f32.
      const resumed = without(section, key);
      await expect(resumed, key).rejects.toThrow(CheckpointError);
      await expect(resumed, key).rejects.toThrow(`metadata.config.${section === null ? "" : `${section}.`}${key} is`);
    }
  });

  it("names what is absent, of another kind, or damaged", async () => {
    expect(() => new Checkpoint(join(folder, "absent"))).toThrow(/absent.*does not exist/);
    writeFileSync(file, "no tensors here");
    expect(() => new Checkpoint(file)).toThrow(CheckpointError);
    writeSafetensors(file, new Map([["a", tensor([1])]]));
    expect(() => new Checkpoint(file)).toThrow(/no checkpoint of minidiff/);
    for (const [key, value] of Object.entries({
      format: 2,
      step: -1,
      elapsedSeconds: "1",
      policy: null,
      trainedOn: {},
    })) {
      write({ ...metadata, [key]: value });
      expect(() => new Checkpoint(file), key).toThrow(CheckpointError);
    }
    write(metadata);
    using checkpoint = new Checkpoint(file);
    await expect(checkpoint.loadPolicy()).rejects.toThrow(CheckpointError);
  });

  it("finds every truncation, and says which file", async () => {
    const run = await Run.start({ out: folder, layers: [toyLayer], data: { root: data } });
    await run.train();
    run.dispose();
    const whole = readFileSync(join(folder, "checkpoint.safetensors"));
    const other = mkdtempSync(join(tmpdir(), "md-cut-"));
    const cut = join(other, "checkpoint.safetensors");
    for (const length of [0, 7, 8, 100, whole.length >> 1, whole.length - 1]) {
      writeFileSync(cut, whole);
      truncateSync(cut, length);
      expect(() => new Checkpoint(cut), String(length)).toThrow(CheckpointError);
    }
    rmSync(other, { recursive: true });
    using checkpoint = new Checkpoint(folder);
    expect(checkpoint.hasEma).toBe(true);
    const [average, last] = [await checkpoint.loadPolicy(), await checkpoint.loadPolicy({ weights: "model" })];
    const weights = [average, last].map((policy) => policy.parameters()[0]!.toFlatArray());
    expect(weights[0]).not.toEqual(weights[1]);
  });

  it("loads averaged weights with batch statistics of their own", async () => {
    const policy = {
      encChannels: [12, 24],
      encNumHeads: [2, 2],
      encDepths: [1, 1],
      decChannels: [12],
      decNumHeads: [2],
      decDepths: [1],
      contextDim: 8,
    };
    const layer = { source: "test", values: { model: "mini-diffuser", policy, training: { steps: 4 } } };
    const run = await Run.start({ out: folder, layers: [toyLayer, layer], data: { root: data } });
    await run.train();
    run.dispose();
    const { tensors } = readSafetensors(join(folder, "checkpoint.safetensors"));
    using checkpoint = new Checkpoint(folder);
    const [average, last] = [await checkpoint.loadPolicy(), await checkpoint.loadPolicy({ weights: "model" })];
    const statistics = [...average.namedBuffers()].filter(([name]) => name.includes("running_"));
    expect(statistics.length).toBeGreaterThan(0);
    for (const [name, value] of statistics) {
      expect(value.toFlatArray(), name).toEqual(tensors.get(`ema.${name}`)!.toFlatArray());
      expect(value.toFlatArray(), name).not.toEqual(last.namedBuffers().get(name)!.toFlatArray());
    }
    for (const loaded of [average, last]) loaded.dispose();
  });
});
