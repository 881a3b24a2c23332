import { describe, expect, it } from "vitest";
import * as md from "../../src/index.js";
import type { DeviceName, DType, Tensor } from "../../src/index.js";

const { devices } = md.cudaInfo();

function uniform(
  shape: number[],
  seed: number,
  device: DeviceName,
  dtype: DType = "f32",
  [low, high] = [-1, 1],
): Tensor {
  const random = md.mulberry32(seed);
  const values = Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => low! + (high! - low!) * random());
  return md.tensor(dtype.startsWith("f") ? values : values.map(Math.floor), { shape, dtype, device });
}

/** What run() returns on the device and on the CPU, one after the other. */
function both(run: (device: DeviceName) => Tensor[]): [device: unknown[][], cpu: unknown[][]] {
  const on = (device: DeviceName): unknown[][] => md.scope(() => run(device).map((x) => [...x.data()]));
  return [on("cuda"), on("cpu")];
}

// Sizes over several tiles of the sort and the scan, where the rows of the op-case table are short.
describe.skipIf(devices.length === 0)("sorting on cuda", () => {
  it.each(["f32", "f64", "i32", "i64", "u8"] as const)("gives the bits of the CPU for long rows of %s", (dtype) => {
    const [there, here] = both((device) => {
      const x = uniform([2, dtype === "f32" ? 2309 : 301], 3, device, dtype, dtype === "u8" ? [0, 40] : [-50, 50]);
      const { values, indices } = md.sort(x);
      return [values, indices, md.argsort(x, { descending: true }), md.topk(x, 70, { largest: false }).indices];
    });
    expect(there).toEqual(here);
  });

  it("puts NaN last", () => {
    const [there, here] = both((device) => [
      md.argsort(md.tensor([NaN, 1, -Infinity, -0, 0, Infinity], { device })),
      md.argsort(md.tensor([NaN, 1, -Infinity, -0, 0, Infinity], { device }), { descending: true }),
    ]);
    expect(there).toEqual(here);
  });

  it("orders rows along every curve", () => {
    const [there, here] = both((device) =>
      (["z", "hilbert", "hilbert-trans"] as const).flatMap((curve) => {
        const at = uniform([150, 3], 5, device, "i32", [0, 1024]);
        const { code, order, inverse } = md.serialize(at, uniform([150], 6, device, "i64", [0, 3]), {
          curve,
          depth: 10,
        });
        return [code, order, inverse];
      }),
    );
    expect(there).toEqual(here);
  });

  it("sums integers over several runs of a warp", () => {
    const [there, here] = both((device) => [
      md.cumsum(uniform([3, 101], 1, device, "i32", [-9, 9]), 1),
      md.cumsum(uniform([3, 101], 1, device, "i32", [-9, 9]), 1, { reverse: true }),
      md.cumsum(uniform([3, 101], 1, device, "i64", [-9, 9]), 0, { reverse: true }),
    ]);
    expect(there).toEqual(here);
  });

  it("names a row that no curve visits", () => {
    md.scope(() => {
      const at = md.tensor([0, 0, 0, 1, 2, 99], { shape: [2, 3], dtype: "i32", device: "cuda" });
      md.serialize(at, md.tensor([0, 0], { dtype: "i32", device: "cuda" }), { depth: 4 });
      expect(() => md.synchronize("cuda")).toThrow("[serialize] row 1 is out of range, expected coordinates from 0");
    });
  });
});

const points = 700;
const cloud = (device: DeviceName): [Tensor, Tensor] => [
  uniform([points, 3], 7, device),
  uniform([points], 8, device, "i32", [0, 3]),
];
const queriesOf = (device: DeviceName): [Tensor, Tensor] => [
  uniform([90, 3], 9, device, "f32", [-1.2, 1.2]),
  uniform([90], 10, device, "i32", [0, 4]),
];
const tensorsOf = (hash: md.VoxelHash): Tensor[] => [
  hash.keys,
  hash.coordinates,
  hash.voxelOfPoint,
  hash.pointOrder,
  hash.voxelOffsets,
  hash.table,
];

describe.skipIf(devices.length === 0)("voxels on cuda", () => {
  it("are those of the CPU to the bit, the table too", () => {
    const [there, here] = both((device) => {
      const hash = md.VoxelHash.build(...cloud(device), { voxelSize: 0.2, origin: [0.03, 0, 0.01] });
      const [queries, batch] = queriesOf(device);
      const { inputs, outputs, starts } = hash.neighbourMap(3);
      return [
        ...tensorsOf(hash),
        hash.lookup(queries, batch),
        hash.neighbours(queries, batch),
        hash.neighboursOfVoxels(5),
        ...[inputs, outputs, starts],
      ];
    });
    expect(there).toEqual(here);
  });

  it("refuse points and queries that are in none", () => {
    const on = (values: number[], items: number[]): [Tensor, Tensor] => [
      md.tensor(values, { shape: [items.length, 3], device: "cuda" }),
      md.tensor(items, { dtype: "i32", device: "cuda" }),
    ];
    md.scope(() => {
      const build = (at: [Tensor, Tensor]): md.VoxelHash => md.VoxelHash.build(...at, { voxelSize: 1 });
      expect(() => build(on([0, 0, 0, NaN, 0, 0], [0, 0]))).toThrow("[voxelHash] row 1 is out of range");
      expect(() => build(on([0, 0, 0], [4096]))).toThrow("[voxelHash] row 0 is out of range");
      expect(() => build(on([0, 1e9, 0], [0]))).toThrow("[voxelHash] row 0 is out of range");
      const hash = build(on([0, 0, 0], [0]));
      hash.lookup(...on([0, Infinity, 0], [0]));
      expect(() => md.synchronize("cuda")).toThrow("[voxelLookup] row 0 is out of range");
      hash.neighbours(...on([0, 0, 0], [-1]));
      expect(() => md.synchronize("cuda")).toThrow("[voxelNeighbours] row 0 is out of range");
    });
  });

  it("take products of rows that several queries share, over several tiles", () => {
    md.scope(() => {
      const run = (device: DeviceName): Tensor[] => {
        const map = md.localKernelMap(uniform([300, 3], 13, device, "i32", [-1, 290]), 290);
        const means = uniform([290, 19], 11, device);
        const weight = uniform([3, 67, 19], 12, device);
        for (const leaf of [means, weight]) leaf.requiresGrad = true;
        const out = md.localKernelQuery(map, means, weight);
        md.backward(md.sum(out.mul(out)));
        return [out.detach(), means.grad!, weight.grad!];
      };
      const here = run("cpu");
      run("cuda").forEach((there, i) => {
        md.compareNumbers(`result ${i}`, there.toFlatArray(), here[i]!.toFlatArray(), 1e-5);
      });
    });
  });

  it("refuse segments and maps that do not fit", () => {
    md.scope(() => {
      const i32 = (values: number[]): Tensor => md.tensor(values, { dtype: "i32", device: "cuda" });
      const x = md.ones([3, 2], { device: "cuda" });
      const refused = (run: () => unknown, message: string): void => {
        expect(() => {
          run();
          md.synchronize("cuda");
        }).toThrow(message);
      };
      refused(() => md.segmentSum(x, i32([0, 5, 3])), "[segmentSum] offsets does not rise from 0 to the 3 rows");
      refused(() => md.segmentMean(x, i32([0, 2])), "[segmentMean] offsets does not rise from 0 to the 3 rows");
      refused(() => md.segmentSum(x, i32([0, 3]), { order: i32([0, 7, 1]) }), "[segmentSum] order[1] is 7");
      refused(
        () => md.segmentSum(x, i32([0, 3]), { order: i32([0, 1, 1]) }),
        "is 1, expected each row from 0 to 2 once",
      );
      refused(() => md.segmentMax(x, i32([0, 0, 3])), "[segmentMax] segment 0 is empty, expected at least one row");
      const neighbours = md.tensor([0, 3], { shape: [1, 2], dtype: "i32", device: "cuda" });
      refused(() => md.localKernelMap(neighbours, 3), "[mapPairs] index element 1 is 3, expected");
      const weight = md.ones([1, 2, 2], { device: "cuda" });
      const product = (inputs: number[], outputs: number[], starts: number[]): Tensor =>
        md.localKernelQuery(
          { inputs: i32(inputs), outputs: i32(outputs), starts: i32(starts), queries: 1, voxels: 3 },
          x,
          weight,
        );
      refused(() => product([0, 3], [0, 0], [0, 2]), "[localKernelQuery] the map's pair 1 is outside");
      refused(() => product([0, 1], [0, 1], [0, 2]), "[localKernelQuery] the map's pair 1 is outside");
      refused(
        () => product([0, 1], [0, 0], [0, 9]),
        "[localKernelQuery] the map's starts do not rise from 0 within its 2 pairs",
      );
      expect([...md.ones([1], { device: "cuda" }).data()]).toEqual([1]);
    });
  });
});

// f16 and bf16 on matrix units, whose tiles have 16 channels and 48 columns; the kernels themselves are held against each
// other by native/emulation/tests/gathered_units_test.cu.
describe.skipIf(devices.length === 0)("convolutions and local queries on cuda", () => {
  const cases: [name: string, input: number, output: number, items: number[]][] = [
    ["one cloud", 36, 20, [16]],
    ["one cloud", 2, 1, [16]],
    ["clouds of which one is empty", 19, 50, [7, 0, 1]],
    ["no points", 36, 20, [0]],
  ];
  it.each(cases)("of %s, with %i to %i channels", (name, input, output, items) => {
    const batch = items.flatMap((count, item) => Array<number>(count).fill(item));
    const at = { shape: [batch.length, 3], range: [-1.4, 1.4], grad: false } as const;
    const of = { shape: [batch.length], dtype: "i32", values: batch } as const;
    md.runOpCaseOn("cuda", {
      primitives: ["submConv3d", "localKernelQuery"],
      name,
      inputs: [
        ...[at, of, at, of],
        ...[[batch.length, input], [output, 3, 3, 3, input], [output], [27, output, input]].map((shape) => ({
          shape,
        })),
      ],
      run: (p, b, q, qb, features, weight, bias, kernel) => {
        const hash = md.VoxelHash.build(p!, b!, { voxelSize: 1 });
        const means = hash.mean(features!);
        return [
          md.submConv3d(hash.neighbourMap(3), means, weight!, { bias: bias! }),
          md.localKernelQuery(hash.localKernelMap(q!, qb!), means, kernel!),
        ];
      },
    });
  });
});
