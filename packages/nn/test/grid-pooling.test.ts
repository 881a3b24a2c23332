import {
  gelu,
  Generator,
  gradcheck,
  matmul,
  mean,
  memory,
  scope,
  ShapeError,
  sqrt,
  square,
  sum,
  tensor,
  type Tensor,
  zeros,
} from "@md/tensor";
import { describe, expect, it } from "vitest";
import { GridPool, GridUnpool, type Module, Parameter } from "../src/index.js";
import { checkGradients, random } from "./parameter-gradients.js";
import { cellsOf, cloudOf, f64, makeScene, near, sameBits, shuffled } from "./point-scenes.js";

const generator = (): Generator => new Generator(4);
const cloud = cloudOf(makeScene([40, 1, 12], 10));
const coarser = cloud.pool(4);
const cells = cellsOf(cloud.grid.toFlatArray(), cloud.batch.toFlatArray(), 4);

function projected(layer: Module, name: string, x: Tensor): Tensor {
  const state = layer.stateDict();
  return matmul(x, state.get(`${name}.weight`)!.transpose()).add(state.get(`${name}.bias`)!);
}

/** Batch norm with eps 1e-3, by the rows' own statistics or the running ones. */
function normed(layer: Module, name: string, x: Tensor): Tensor {
  const state = (part: string): Tensor => layer.stateDict().get(`${name}.${part}`)!;
  const centre = layer.training ? mean(x, { dim: 0 }) : state("running_mean");
  const variance = layer.training ? mean(square(x.sub(centre)), { dim: 0 }) : state("running_var");
  return x
    .sub(centre)
    .div(sqrt(variance.add(1e-3)))
    .mul(state("weight"))
    .add(state("bias"));
}

function maximaOf(x: Tensor): Tensor {
  const [values, channels] = [x.toFlatArray(), x.shape[1]!];
  const maxima = cells.flatMap(({ rows }) =>
    Array.from({ length: channels }, (_, c) => Math.max(...rows.map((row) => values[row * channels + c]!))),
  );
  return tensor(maxima, { shape: [cells.length, channels], ...f64 });
}

/** Row i of x for each row of the finer level that lies in cell i. */
function spread(x: Tensor): Tensor {
  const [values, channels] = [x.toFlatArray(), x.shape[1]!];
  const parents = Array.from({ length: cloud.size }, (_, row) => cells.findIndex(({ rows }) => rows.includes(row)));
  const copied = parents.flatMap((parent) => values.slice(parent * channels, (parent + 1) * channels));
  return tensor(copied, { shape: [cloud.size, channels], ...f64 });
}

/** Momentum 0.01 and the unbiased variance. */
function checkTracked(layer: Module, before: Module, name: string, x: Tensor): void {
  const rows = x.shape[0]!;
  const centre = mean(x, { dim: 0 });
  const variance = mean(square(x.sub(centre)), { dim: 0 }).mul(rows / (rows - 1));
  for (const [statistic, current] of [
    ["running_mean", centre],
    ["running_var", variance],
  ] as const) {
    const old = before.stateDict().get(`${name}.${statistic}`)!;
    near(layer.stateDict().get(`${name}.${statistic}`)!, old.mul(0.99).add(current.mul(0.01)));
  }
}

describe("GridPool", () => {
  const make = (): GridPool => shuffled(new GridPool(3, 5, { generator: generator(), ...f64 }));
  const x = new Parameter(random([cloud.size, 3], 8));

  it("has cells of one row and of several", () => {
    expect(cells.some(({ rows }) => rows.length === 1)).toBe(true);
    expect(cells.some(({ rows }) => rows.length > 2)).toBe(true);
  });

  it("is the maximum of each cell, normed by the cells in training, by running statistics in evaluation", () => {
    const layer = make();
    const maxima = maximaOf(projected(layer, "proj", x));
    near(layer.forward(coarser, x), gelu(normed(layer, "norm", maxima)));
    checkTracked(layer, make(), "norm", maxima);
    const evaluated = make().eval();
    const output = evaluated.forward(coarser, x);
    near(output, gelu(normed(evaluated, "norm", maxima)));
    expect(output.toFlatArray()).not.toEqual(make().forward(coarser, x).toFlatArray());
    for (const [name, buffer] of evaluated.namedBuffers()) sameBits(buffer, make().stateDict().get(name)!);
  });

  it.each([true, false])("has gradients with training %s", (training) => {
    const layer = make().train(training);
    gradcheck((input) => layer.forward(coarser, input), [x]);
    checkGradients(layer.namedParameters(), () => layer.forward(coarser, x));
  });

  it("gives an item the same in a batch, in evaluation, to the bit", () => {
    const layer = make().eval();
    const alone = cloudOf({
      grid: Int32Array.from(cloud.grid.toFlatArray().slice(0, 3 * cloud.counts[0]!)),
      counts: [cloud.counts[0]!],
      coordinates: random([cloud.counts[0]!, 3]),
    }).pool(4);
    const output = layer.forward(alone, x.narrow(0, 0, cloud.counts[0]!));
    sameBits(output, layer.forward(coarser, x).narrow(0, 0, coarser.counts[0]!).contiguous());
  });

  it("frees what it makes", () => {
    const layer = make();
    const live = Array.from({ length: 20 }, () => {
      scope(() => {
        layer.zeroGrad();
        sum(layer.forward(coarser, x)).backward();
        x.grad!.dispose();
        x.grad = null;
      });
      return memory().liveTensors;
    });
    expect(live).toEqual(new Array<number>(20).fill(live[0]!));
  });

  it("refuses rows of another level", () => {
    for (const shape of [
      [coarser.size, 3],
      [cloud.size, 2],
      [cloud.size, 1, 3],
    ]) {
      const forward = (): Tensor => make().forward(coarser, zeros(shape, f64));
      expect(forward).toThrow(ShapeError);
      expect(forward).toThrow(`[GridPool] x has shape [${shape}], expected [${cloud.size},3]`);
    }
    expect(() => make().forward(cloudOf(makeScene([1], 4)), zeros([1, 3], f64))).toThrow(/at least 2 elements/);
  });
});

describe("GridUnpool", () => {
  const make = (): GridUnpool => shuffled(new GridUnpool(4, 3, 5, { generator: generator(), ...f64 }));
  const x = new Parameter(random([coarser.size, 4], 8));
  const skip = new Parameter(random([cloud.size, 3], 9));

  it("adds each cell's features to the rows in it, and gives the skip's part", () => {
    for (const training of [true, false]) {
      const layer = make().train(training);
      const [up, own] = [projected(layer, "proj", x), projected(layer, "skip_proj", skip)];
      const expected = gelu(normed(layer, "skip_norm", own));
      const outputs = layer.forward(coarser, x, skip);
      near(outputs.skip, expected);
      near(outputs.sum, expected.add(spread(gelu(normed(layer, "norm", up)))));
      if (!training) continue;
      checkTracked(layer, make(), "norm", up);
      checkTracked(layer, make(), "skip_norm", own);
    }
  });

  it.each([true, false])("has gradients with training %s", (training) => {
    const layer = make().train(training);
    const run = (input: Tensor, other: Tensor): Tensor[] => {
      const { sum, skip } = layer.forward(coarser, input, other);
      return [sum, skip];
    };
    gradcheck(run, [x, skip]);
    checkGradients(layer.namedParameters(), () => layer.forward(coarser, x, skip).sum);
  });

  it("has names of its own", () => {
    const norm = (name: string): string[] =>
      ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"].map((part) => `${name}.${part}`);
    const linear = (name: string): string[] => [`${name}.weight`, `${name}.bias`];
    const names = [...linear("proj"), ...norm("norm"), ...linear("skip_proj"), ...norm("skip_norm")];
    expect([...make().stateDict().keys()].sort()).toEqual(names.sort());
    const pool = new GridPool(3, 5, { generator: generator() });
    expect([...pool.stateDict().keys()]).toEqual([...linear("proj"), ...norm("norm")]);
  });

  it("refuses rows of other levels, one row included", () => {
    for (const [first, second, message] of [
      [[coarser.size + 1, 4], [cloud.size, 3], `x has shape [${coarser.size + 1},4], expected [${coarser.size},4]`],
      [[1, 4], [cloud.size, 3], `x has shape [1,4], expected [${coarser.size},4]`],
      [[coarser.size, 4], [1, 3], `skip has shape [1,3], expected [${cloud.size},3]`],
      [[coarser.size, 4], [cloud.size, 4], `skip has shape [${cloud.size},4], expected [${cloud.size},3]`],
    ] as const) {
      const forward = (): unknown => make().eval().forward(coarser, zeros(first, f64), zeros(second, f64));
      expect(forward).toThrow(ShapeError);
      expect(forward).toThrow(`[GridUnpool] ${message}`);
    }
  });
});
