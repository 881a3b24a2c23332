import { BatchNorm1d } from "@md/nn";
import { cudaInfo, Generator, mseLoss, randn, scope } from "@md/tensor";
import { describe, expect, it } from "vitest";
import { AdamW } from "../../src/optim/adamw.js";
import { clipGradNorm } from "../../src/optim/clip-grad-norm.js";
import { Ema } from "../../src/optim/ema.js";

const device = "cuda:0";

describe.skipIf(cudaInfo().devices.length === 0)("optimisers on cuda", () => {
  it("keep moments and averages there, batch statistics and their count among them", async () => {
    const run = async (where: "cpu" | typeof device): Promise<Map<string, number[]>> => {
      const module = new BatchNorm1d(3).to(where);
      const optimizer = new AdamW(module.namedParameters(), { learningRate: 0.1 });
      const ema = new Ema(module, 0.9);
      for (let step = 1; step <= 3; step++) {
        scope(() => {
          const generator = new Generator(step);
          const [x, y] = [0, 1].map(() => randn([7, 3], { generator, device: where }));
          mseLoss(module.forward(x!), y!).backward();
          clipGradNorm(module.parameters(), 0.01);
          optimizer.step();
          module.zeroGrad();
          ema.update(step);
        });
      }
      const averaged = await ema.withAverages(() => Promise.resolve(module.runningMean.toFlatArray()));
      const state = [...module.stateDict(), ...prefixed("ema", ema.stateDict())];
      const moments = [...optimizer.stateDict()].filter(([name]) => name !== "step");
      for (const [name, { device: found }] of [...state, ...moments]) expect(found, name).toBe(where);
      const numbers = new Map([...state, ...moments].map(([name, x]) => [name, x.toFlatArray()]));
      optimizer.dispose();
      ema.dispose();
      module.dispose();
      return numbers.set("averaged", averaged);
    };
    const [here, there] = [await run("cpu"), await run(device)];
    expect([...there.keys()]).toEqual([...here.keys()]);
    expect(there.get("ema.num_batches_tracked")).toEqual([3]);
    for (const [name, values] of there)
      values.forEach((value, i) => expect(value, name).toBeCloseTo(here.get(name)![i]!, 5));
  });
});

const prefixed = <T>(prefix: string, dict: ReadonlyMap<string, T>): [string, T][] =>
  [...dict].map(([name, value]) => [`${prefix}.${name}`, value]);
