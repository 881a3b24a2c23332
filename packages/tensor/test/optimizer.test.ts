import { afterEach, describe, expect, it } from "vitest";
import { native } from "@md/native";
import * as md from "../src/index.js";

describe("optimizer ops", () => {
  const threads = native.getNumThreads();
  afterEach(() => native.setNumThreads(threads));

  it("gives the same bits for many tensors at any number of threads", () => {
    const run = (count: number): number[] =>
      md.scope(() => {
        native.setNumThreads(count);
        const generator = new md.Generator(1);
        const list = (): md.Tensor[] =>
          [[70, 300], [5], [0, 3], [17_000]].map((shape) => md.rand(shape, { generator }));
        const [parameters, grads, expAvgs, expAvgSqs] = [list(), list(), list(), list()];
        const norm = md.globalNorm(grads);
        md.adamwStep(
          { parameters, grads, expAvgs, expAvgSqs },
          { lr: 1e-3, betas: [0.9, 0.98], eps: 1e-8, weightDecay: 0.01, step: 1 },
        );
        md.emaUpdate(expAvgs, parameters, 0.9);
        return [norm.item(), ...[...parameters, ...expAvgs].flatMap((x) => x.toFlatArray())];
      });
    expect(run(3)).toEqual(run(1));
  });

  it("names the list and index that do not fit, and changes nothing", () => {
    const parameters = [md.ones([2]), md.ones([3])];
    const state = {
      parameters,
      grads: [md.ones([2]), md.ones([4])],
      expAvgs: [md.zeros([2]), md.zeros([3])],
      expAvgSqs: [md.zeros([2]), md.zeros([3])],
    };
    const options = { lr: 0.1, betas: [0.9, 0.98] as const, eps: 1e-8, weightDecay: 0, step: 1 };
    expect(() => md.adamwStep(state, options)).toThrow(/grads\[1\] has shape \[4\], expected \[3\]/);
    expect(parameters[0]!.toFlatArray()).toEqual([1, 1]);
    expect(() => md.adamwStep({ ...state, grads: [] }, options)).toThrow(md.ShapeError);
    expect(() =>
      md.adamwStep({ parameters: [], grads: [], expAvgs: [], expAvgSqs: [] }, { ...options, step: 0 }),
    ).toThrow(/step is 0/);
    const scalar = (value: number, dtype: md.DType = "f64"): md.Tensor => md.full([], value, { dtype });
    const tensors = { lr: scalar(0.1), step: scalar(4, "i64"), gradScale: scalar(1) };
    const stepBy = (changed: Partial<md.AdamWTensors>): void =>
      md.adamwStep({ ...state, grads: parameters }, { ...options, ...tensors, ...changed });
    expect(() => stepBy({ gradScale: scalar(NaN) })).toThrow(/gradient scale is nan/);
    expect(() => stepBy({ lr: scalar(Infinity) })).toThrow(/learning rate is inf/);
    expect(() => stepBy({ step: scalar(4) })).toThrow(/step has dtype f64, expected i64/);
    expect(() => stepBy({ lr: md.ones([1], { dtype: "f64" }) })).toThrow(
      /learning rate has shape \[1\], expected \[\]/,
    );
    expect(tensors.step.item()).toBe(4);
    expect(parameters[0]!.toFlatArray()).toEqual([1, 1]);
    stepBy({});
    expect(tensors.step.item()).toBe(5);
    const strided = md.transpose(md.ones([2, 3]));
    expect(() => md.emaUpdate([strided], [md.ones([3, 2])], 0.5)).toThrow(md.UnsupportedError);
    expect(() => md.emaUpdate([md.ones([2])], [md.ones([2])], 1.5)).toThrow(/decay is 1.5/);
    expect(() => md.adamwStep({ ...state, grads: parameters }, { ...options, step: 1.5 })).toThrow(/step is 1.5/);
  });

  it("refuses tensors that share elements, which two threads would update", () => {
    const flat = md.ones([8]);
    const [a, b, c] = [flat.narrow(0, 0, 4), flat.narrow(0, 4, 4), flat.narrow(0, 3, 4)];
    const others = (): md.Tensor[] => [md.zeros([4]), md.zeros([4])];
    const step = (parameters: md.Tensor[], expAvgs = others()): void =>
      md.adamwStep(
        { parameters, grads: others(), expAvgs, expAvgSqs: others() },
        { lr: 0.1, betas: [0.9, 0.98], eps: 1e-8, weightDecay: 0, step: 1 },
      );
    step([a, b]);
    const before = flat.toFlatArray();
    expect(() => step([a, a])).toThrow(/parameters\[[01]\] and parameters\[[01]\] share elements/);
    expect(() => step([a, c])).toThrow(/parameters\[0\] and parameters\[1\] share elements/);
    expect(() => step([a, b], [md.zeros([4]), b])).toThrow(/share elements/);
    expect(() => md.emaUpdate([a, a], others(), 0.5)).toThrow(md.ValueError);
    expect(flat.toFlatArray()).toEqual(before);
  });
});
