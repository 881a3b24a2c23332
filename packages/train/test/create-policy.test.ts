import { ConfigKeyError, type PolicyFactory } from "@md/diffusion";
import { Generator, memory, OutOfMemoryError, ShapeError } from "@md/tensor";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { resolveConfig } from "../src/config/resolve.js";
import { listEpisodes, loadDataset } from "../src/data.js";
import { ConfigError } from "../src/errors.js";
import { batchSource } from "../src/run/batches.js";
import { createPolicy } from "../src/run/create-policy.js";
import { Run } from "../src/run/run.js";
import { makeFixture } from "./support/fixture.js";
import toyPolicy from "./support/toy-policy.js";

const config = resolveConfig([], toyPolicy.defaults);
const { folder, data, remove } = makeFixture(2);
afterAll(remove);
const dataset = await loadDataset(listEpisodes({ root: data }), config.data);
const batch = batchSource(dataset, config)(0);
const statistics = { positionBounds: { min: [-1, -1, -1], max: [1, 1, 1] }, instructionDim: 8 };

const fail = (error: Error): never => {
  throw error;
};

/** What is thrown for a policy whose constructor throws `error`, and for one whose loss does. */
function refusals(error: Error): unknown[] {
  const factories: PolicyFactory[] = [
    { ...toyPolicy, create: () => fail(error) },
    { ...toyPolicy, create: (...args) => Object.assign(toyPolicy.create(...args), { loss: () => fail(error) }) },
  ];
  return factories.map((factory) => {
    try {
      createPolicy(factory, config, statistics, batch);
    } catch (thrown) {
      return thrown;
    }
    return expect.fail("nothing was thrown");
  });
}

it("names the option that a policy names, and else the policy", () => {
  for (const thrown of refusals(new ConfigKeyError("Toy", "noise", "is -1, expected a number of at least 0")))
    expect(thrown).toEqual(new ConfigError("toy", "policy.noise", "is -1, expected a number of at least 0"));
  for (const error of [new ConfigKeyError("Toy", "instructionDim", "is 0"), new ShapeError("[full] shape is bad")])
    for (const thrown of refusals(error))
      expect(thrown).toEqual(new ConfigError("toy", "policy", `cannot be used: ${error.message}`));
});

it("leaves alone what no option is to blame for", () => {
  for (const error of [new OutOfMemoryError("[full] needs 9 bytes"), new TypeError("no function")])
    for (const thrown of refusals(error)) expect(thrown).toBe(error);
});

it("finds a policy that does not fit the data before a run's folder is made, and frees it", async () => {
  const out = join(folder, "run");
  const { liveBytes } = memory();
  const small = { embedDim: 12, numHeads: 2, numLayers: 1, samples: 2, positionFrequencies: 1 };
  for (const [wrong, message] of [
    [{ horizon: 4 }, "[mini-diffuser-light] policy.horizon is 4, expected 1, the target actions a scene"],
    [{ binCells: [1e-12] }, "[mini-diffuser-light] policy cannot be used: [voxelHash]"],
  ] as const) {
    const values = { policy: { ...small, ...wrong }, training: { steps: 2, batchSize: 2 } };
    const started = Run.start({ out, layers: [{ source: "test", values }], data: { root: data } });
    await expect(started).rejects.toThrow(ConfigError);
    await expect(started).rejects.toThrow(message);
    expect(existsSync(out)).toBe(false);
    expect(memory().liveBytes).toBe(liveBytes);
  }
});

it("finds data that a batch norm cannot be trained on before a run's folder is made", async () => {
  const out = join(folder, "run");
  const { liveBytes } = memory();
  const values = { model: "mini-diffuser", data: { points: 1 }, training: { steps: 1, batchSize: 1 } };
  const started = Run.start({ out, layers: [{ source: "test", values }], data: { root: data } });
  await expect(started).rejects.toThrow("[mini-diffuser] policy cannot be used: [batchNorm] x has shape [1,");
  expect(existsSync(out)).toBe(false);
  expect(memory().liveBytes).toBe(liveBytes);
});

it("leaves a policy in training mode and as it would be without a trial", () => {
  const [tried, plain] = [
    createPolicy(toyPolicy, config, statistics, batch),
    toyPolicy.create(config.policy, statistics, new Generator(config.seed).fork("initialization")),
  ];
  expect(tried.training).toBe(true);
  expect(tried.parameters().map((p) => p.toFlatArray())).toEqual(plain.parameters().map((p) => p.toFlatArray()));
  for (const policy of [tried, plain]) policy.dispose();
});
