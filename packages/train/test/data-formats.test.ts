import { spawnSync } from "node:child_process";
import { cpSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeSafetensors } from "@md/nn";
import { convertDataset } from "@md/rlbench-data";
import { tensor } from "@md/tensor";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type ConfigLayer, resolveConfig } from "../src/config/resolve.js";
import { listEpisodes, loadDataset } from "../src/data.js";
import { evaluateCheckpoint } from "../src/evaluate/evaluation.js";
import { Run } from "../src/run/run.js";
import { makeFixture } from "./support/fixture.js";

const { folder, data, remove } = makeFixture(3);
afterAll(remove);
const compact = join(folder, "compact");
const damaged = join(folder, "damaged");
const damagedEpisode = "reach_sphere/all_variations/episode1";

const small: ConfigLayer = {
  source: "test",
  values: {
    policy: { embedDim: 12, numHeads: 2, numLayers: 1, samples: 2, positionFrequencies: 1 },
    data: { points: 8, instructionDim: 8 },
    training: { steps: 2, batchSize: 2 },
  },
};

beforeAll(async () => {
  await convertDataset({ from: data, to: compact });
  cpSync(data, damaged, { recursive: true });
  truncateSync(join(damaged, "reach_sphere/all_variations/episodes/episode1/low_dim_obs.pkl"), 500);
});

it("key steps of the compact format are the training states of what they were converted from", async () => {
  const config = resolveConfig([], {}).data;
  const [raw, converted] = [data, compact].map((root) => loadDataset(listEpisodes({ root }), config));
  expect((await converted).samples.map(({ frame: _, ...sample }) => sample)).toEqual(
    (await raw).samples.map(({ frame: _, ...sample }) => sample),
  );
});

it("trains from the compact format, and goes on", async () => {
  const out = join(folder, "run-compact");
  const run = await Run.start({ out, layers: [small], data: { root: compact } });
  await run.train();
  run.dispose();
  const again = await Run.resume(out, { budget: [{ source: "test", values: { training: { steps: 3 } } }] });
  await again.train();
  expect(again.trainer.step).toBe(3);
  again.dispose();
});

it("trains and evaluates on what is left when bad episodes are skipped", async () => {
  const out = join(folder, "run-damaged");
  await expect(Run.start({ out, layers: [small], data: { root: damaged } })).rejects.toThrow(/low_dim_obs\.pkl/);
  const bad: string[] = [];
  const source = { root: damaged, onBad: ({ message }: Error) => void bad.push(message) };
  const run = await Run.start({ out, layers: [small], data: source });
  expect(bad).toHaveLength(1);
  expect(bad[0]).toContain(join("episode1", "low_dim_obs.pkl"));
  const { episodes } = run.parts.metadata.trainedOn!;
  expect(episodes).toHaveLength(2);
  expect(episodes).not.toContain(damagedEpisode);
  await run.train();
  run.dispose();
  const judge = { checkpoint: out, samples: 1, steps: 1 };
  await expect(evaluateCheckpoint({ ...judge, data: { root: damaged } })).rejects.toThrow(/low_dim_obs\.pkl/);
  expect((await evaluateCheckpoint({ ...judge, data: source })).keyPoses).toHaveLength(2);
});

it("an instruction without an embedding is bad data of its episode", async () => {
  const instructionFile = join(folder, "embeddings.safetensors");
  const config = resolveConfig([], {}).data;
  const episodes = listEpisodes({ root: data });
  const { samples } = await loadDataset(episodes, config);
  const known = new Set(samples.slice(1).flatMap(({ instructions }) => instructions.texts));
  const unknown = samples.filter(({ instructions }) => instructions.texts.some((text) => !known.has(text)));
  expect(unknown).toHaveLength(1);
  writeSafetensors(instructionFile, new Map([...known].map((text) => [text, tensor([[1, 2, 3]])])));
  const withFile = { ...config, instructionFile };
  await expect(loadDataset(episodes, withFile)).rejects.toThrow(
    /^\[reach_sphere\/all_variations\/episode0\] .*embeddings\.safetensors has no embedding of the instruction "/,
  );
  const bad: Error[] = [];
  const left = await loadDataset(episodes, withFile, { onBad: (error) => bad.push(error) });
  expect(bad).toHaveLength(1);
  expect(left.samples.map(({ episode }) => episode)).toEqual(samples.slice(1).map(({ episode }) => episode));
});

it("describes and converts from the command line", () => {
  const cli = fileURLToPath(new URL("../src/cli.ts", import.meta.url));
  const minidiff = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(process.execPath, ["--conditions", "@md/source", "--import", "tsx", cli, "data", ...args], {
      encoding: "utf8",
      timeout: 60_000,
    });
  const lerobot = join(folder, "lerobot");
  const exported = minidiff("convert", "--from", data, "--to", lerobot, "--format", "lerobot", "--cameras", "front");
  expect(exported.stdout).toMatch(/3 written \(.*\), 0 kept, 0 skipped, each read back/);
  expect(minidiff("info", lerobot).stdout).toMatch(/format: lerobot\n(.*\n)*cameras: front\n/);
  expect(minidiff("convert", "--from", data, "--to", `${lerobot}2`, "--format", "other")).toMatchObject({ status: 2 });
  const failed = minidiff("info", damaged);
  expect(failed.status).toBe(1);
  expect(failed.stderr).toMatch(/^minidiff: \S*.*low_dim_obs\.pkl/);
  const info = minidiff("info", damaged, "--skip-bad", "--json");
  expect(info.status).toBe(0);
  expect(info.stderr).toMatch(/^minidiff: skipped: .*low_dim_obs\.pkl/);
  expect(JSON.parse(info.stdout)).toMatchObject({ format: "rlbench", episodes: 2, tasks: [{ task: "reach_sphere" }] });
  const to = join(folder, "converted");
  const converted = minidiff("convert", "--from", damaged, "--to", to, "--skip-bad");
  expect(converted.stdout).toMatch(/2 written \(.* MB\), 0 kept, 1 skipped/);
  expect(converted.stderr).toMatch(/3\/3 episodes/);
  expect(converted.status).toBe(0);
  expect(minidiff("info", to).stdout).toMatch(/format: compact\nepisodes: 2/);
}, 240_000);
