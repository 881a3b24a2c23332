import { adamwStep, cudaInfo, Generator, mseLoss, randn, scope, zerosLike } from "@md/tensor";
import { describe, expect, it } from "vitest";
import { MLP, ModuleList, Sequential } from "../../src/index.js";

const device = "cuda:0";

describe.skipIf(cudaInfo().devices.length === 0)("a module on cuda", () => {
  it("trains as on the CPU", () => {
    const losses = (["cpu", device] as const).map((where) =>
      scope(() => {
        const model = new MLP([5, 19, 3], { generator: new Generator(1) }).to(where);
        const [x, y] = [5, 3].map((width) => randn([11, width], { generator: new Generator(width), device: where }));
        const parameters = model.parameters();
        const [expAvgs, expAvgSqs] = [parameters.map(zerosLike), parameters.map(zerosLike)];
        const history: number[] = [];
        for (let step = 1; step <= 5; step++) {
          const loss = mseLoss(model.forward(x!), y!);
          model.zeroGrad();
          loss.backward();
          const grads = parameters.map(({ grad }) => grad!);
          adamwStep(
            { parameters, grads, expAvgs, expAvgSqs },
            { lr: 0.01, betas: [0.9, 0.99], eps: 1e-8, weightDecay: 0.01, step },
          );
          history.push(loss.item());
        }
        expect(parameters.every((parameter) => parameter.device === where && parameter.grad!.device === where)).toBe(
          true,
        );
        model.dispose();
        return history;
      }),
    );
    losses[0]!.forEach((loss, i) => expect(Math.abs(loss - losses[1]![i]!)).toBeLessThan(1e-5 * loss));
    expect(losses[0]![4]).toBeLessThan(losses[0]![0]!);
  });

  it("loads a state dict of another device", () => {
    scope(() => {
      const [here, there] = [1, 2].map((seed) => new MLP([2, 3], { generator: new Generator(seed) }));
      there!.to(device).loadStateDict(here!.stateDict());
      expect([here!.device, there!.device]).toEqual(["cpu", device]);
      expect(new ModuleList([new Sequential(), there!]).device).toBe(device);
      for (const [name, tensor] of there!.stateDict()) {
        expect(tensor.device).toBe(device);
        expect(tensor.data()).toEqual(here!.stateDict().get(name)!.data());
      }
      here!.dispose();
      there!.dispose();
    });
  });
});
