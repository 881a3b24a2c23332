import { full, memory, scope, sum, type Tensor, tensor } from "@md/tensor";
import { describe, expect, it } from "vitest";
import { construct, Module, ModuleDict, ModuleList, Parameter, Sequential, StateDictError } from "../src/index.js";

class Scale extends Module {
  readonly weight: Parameter;
  readonly steps: Tensor;
  constructor(value: number, size = 2) {
    super();
    this.weight = new Parameter(full([size], value));
    this.steps = this.registerBuffer("num_steps", tensor(0, { dtype: "i64" }));
  }
  forward(x: Tensor): Tensor {
    return x.mul(this.weight);
  }
}

class Model extends Module {
  readonly bias = new Parameter(full([2], 0));
  readonly first = new Scale(1);
  readonly blocks = new ModuleList([new Scale(2), new Scale(3)]);
  readonly heads = new ModuleDict({ a: new Scale(4), b: new Sequential(new Scale(5)) });
  readonly scratch = full([3], 1);
}

const names = ["bias", "first.weight", "first.num_steps", "blocks.0.weight", "blocks.0.num_steps", "blocks.1.weight"];

describe("Module", () => {
  it("finds parameters, buffers and children in the order of their definition", () => {
    const model = new Model();
    expect([...model.stateDict().keys()].slice(0, 6)).toEqual(names);
    expect([...model.namedParameters().keys()]).toEqual([
      "bias",
      "first.weight",
      "blocks.0.weight",
      "blocks.1.weight",
      "heads.a.weight",
      "heads.b.0.weight",
    ]);
    expect([...model.namedBuffers().keys()]).toHaveLength(5);
    expect([...model.children.keys()]).toEqual(["first", "blocks", "heads"]);
    expect([...model.namedModules().keys()]).toEqual([
      "",
      "first",
      "blocks",
      "blocks.0",
      "blocks.1",
      "heads",
      "heads.a",
      "heads.b",
      "heads.b.0",
    ]);
    expect(model.numParameters).toBe(12);
  });

  it("lies where its first tensor does, on the CPU without any", () => {
    expect(new Model().device).toBe("cpu");
    expect(new ModuleList<Module>().device).toBe("cpu");
  });

  it("lists a shared parameter once, but in the state dict under each name", () => {
    const shared = new Scale(1);
    class Tied extends Module {
      readonly a = shared;
      readonly b = shared;
    }
    expect([...new Tied().namedParameters().keys()]).toEqual(["a.weight"]);
    expect([...new Tied().stateDict().keys()]).toEqual(["a.weight", "a.num_steps", "b.weight", "b.num_steps"]);
  });

  it("refuses a plain array of modules, and names with dots or taken", () => {
    class Plain extends Module {
      readonly layers = [new Scale(1)];
    }
    expect(() => new Plain().parameters()).toThrow(/"layers" is an array of modules, expected a ModuleList/);
    expect(() => new ModuleDict({ "a.b": new Scale(1) })).toThrow(/"a.b"/);
    const dict = new ModuleDict({ a: new Scale(1) });
    expect(() => dict.set("a", new Scale(1))).toThrow(/registered twice/);
    expect(() => dict.get("c")).toThrow(/"c", expected one of a/);
    expect(() => new ModuleList([]).at(0)).toThrow(/out of range/);
  });

  it("switches modes, freezes, and drops gradients", () => {
    const model = new Model();
    model.eval();
    expect([...model.namedModules().values()].some((module) => module.training)).toBe(false);
    model.train();
    expect([...model.namedModules().values()].every((module) => module.training)).toBe(true);
    sum(model.first.forward(tensor([1, 2]))).backward();
    expect(model.first.weight.grad?.toFlatArray()).toEqual([1, 2]);
    model.zeroGrad();
    expect(model.first.weight.grad).toBeNull();
    model.setRequiresGrad(false);
    expect(model.first.forward(tensor([1, 2])).requiresGrad).toBe(false);
  });

  it("frees its tensors", () => {
    const model = new Model();
    model.dispose();
    expect(model.bias.disposed).toBe(true);
    expect(model.heads.get("a").stateDict().get("num_steps")!.disposed).toBe(true);
  });
});

describe("construct", () => {
  class Failing extends Module {
    readonly first = new Scale(1);
    readonly second: Scale;
    constructor(fails: boolean) {
      super();
      this.second = construct(() => new Scale(2));
      if (fails) throw new RangeError("no more");
    }
  }

  it("frees what a constructor made before it threw, below it too", () => {
    const { liveTensors } = memory();
    scope(() => expect(() => construct(() => new Failing(true))).toThrow(RangeError));
    expect(memory().liveTensors).toBe(liveTensors);
  });

  it("leaves alone what a constructor returned, and what is made outside", () => {
    const module = construct(() => new Failing(false));
    expect(() => construct(() => new Failing(true))).toThrow(RangeError);
    expect([...module.stateDict().values()].some((tensor) => tensor.disposed)).toBe(false);
    expect(new Scale(1).weight.disposed).toBe(false);
    module.dispose();
  });
});

describe("state dicts", () => {
  it("round-trips", () => {
    const source = new Model();
    const target = new Model();
    const counted = [...source.stateDict()].map(
      ([name, value], i) => [name, full(value.shape, i, { dtype: value.dtype })] as const,
    );
    source.loadStateDict(new Map(counted));
    target.loadStateDict(source.stateDict());
    [...target.stateDict().values()].forEach((value, i) =>
      expect(value.toFlatArray()).toEqual(new Array(value.size).fill(i)),
    );
  });

  it("reports every missing, unexpected and mis-shaped name, and loads nothing", () => {
    const model = new Model();
    const dict = new Map(new Model().stateDict());
    dict.set("bias", full([2], 9));
    dict.delete("first.weight");
    dict.set("extra", full([1], 0));
    dict.set("blocks.0.weight", full([3], 0));
    dict.set("blocks.1.num_steps", tensor(0, { dtype: "i32" }));
    let caught: unknown;
    try {
      model.loadStateDict(dict);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(StateDictError);
    const error = caught as StateDictError;
    expect(error.missing).toEqual(["first.weight"]);
    expect(error.unexpected).toEqual(["extra"]);
    expect(error.mismatched).toEqual([
      { name: "blocks.0.weight", found: "f32 [3]", expected: "f32 [2]" },
      { name: "blocks.1.num_steps", found: "i32 []", expected: "i64 []" },
    ]);
    expect(error.message).toMatch(
      /missing first.weight\n.*unexpected extra\n.*blocks.0.weight is f32 \[3\], expected f32 \[2\]/,
    );
    expect(model.bias.toFlatArray()).toEqual([0, 0]);
    expect(() => model.loadStateDict(dict, { strict: false })).toThrow(StateDictError);
    expect(model.bias.toFlatArray()).toEqual([0, 0]);
  });

  it("loads what is there when not strict, and converts f64", () => {
    const model = new Model();
    const result = model.loadStateDict(
      new Map<string, Tensor>([
        ["bias", full([2], 7, { dtype: "f64" })],
        ["extra", full([1], 0)],
      ]),
      { strict: false },
    );
    expect(model.bias.toFlatArray()).toEqual([7, 7]);
    expect(result.unexpected).toEqual(["extra"]);
    expect(result.missing).toContain("first.weight");
  });

  it("loads nothing from a disposed tensor", () => {
    const model = new Model();
    const dict = new Map(new Model().stateDict());
    dict.set("bias", full([2], 9));
    const gone = full([2], 1);
    gone.dispose();
    dict.set("heads.a.weight", gone);
    expect(() => model.loadStateDict(dict)).toThrow(/disposed/);
    expect(model.bias.toFlatArray()).toEqual([0, 0]);
  });
});
