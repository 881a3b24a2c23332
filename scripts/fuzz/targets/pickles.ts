import {
  encodeTorchCheckpoint,
  NdArray,
  parseTorchCheckpoint,
  pickle,
  PickleError,
  type PickleValue,
  pyInstance,
  pyTuple,
  type TorchArray,
  TorchCheckpointError,
  TorchTensor,
  unpickle,
  unpickleWithTensors,
} from "@md/pickle";
import { PYTHON_PICKLES } from "../../../packages/pickle/test/support/python-pickles.js";
import { pyTensor, torchLegacy, torchZip } from "../../../packages/pickle/test/support/torch-files.js";
import { makePackage, picklePackage } from "../../../packages/rlbench-data/test/support/packaged-episode.js";
import type { Target } from "../target.js";

const storage = { className: "FloatStorage", key: "0", length: 6 };
const weights = Float32Array.of(1, 2, 3, 4, 5, 6);
const dict = new Map([
  ["a", pyTensor(storage, [2, 3], [3, 1])],
  ["b", pyTensor(storage, [3, 2], [1, 3])],
]);
const arrays = new Map<string, TorchArray>([
  ["weight", { dtype: "f32", shape: [2, 3], data: weights }],
  ["count", { dtype: "i64", shape: [], data: BigInt64Array.of(7n) }],
  ["mask", { dtype: "bool", shape: [3], data: Uint8Array.of(1, 0, 1) }],
]);
const half = { ...storage, className: "HalfStorage" };
const module = pyInstance("__torch__.Module", "Model", { weight: pyTensor(half, [6], [1]), training: true });

export const pickles: readonly Target[] = [
  {
    name: "pickle",
    seeds: () => PYTHON_PICKLES.map((text) => ({ content: Buffer.from(text, "base64") })),
    parse(input, file) {
      const value = unpickle(input, file, { isRecord: (name) => /^(rlbench|amsolver)\./.test(name) });
      for (const item of valuesIn(value)) if (item instanceof NdArray) checkArray(item);
      return value;
    },
    errors: [PickleError],
  },
  {
    name: "torch",
    seeds: () => [
      { content: encodeTorchCheckpoint(arrays, "seed") },
      { content: torchZip(dict, { 0: weights }, { level: 1 }) },
      { content: pickle(dict, 2), wrap: (content) => torchZip(content, { 0: weights }) },
      { content: pickle(module, 2), wrap: (content) => torchZip(content, { 0: new Uint16Array(6) }, { level: 1 }) },
      {
        content: torchLegacy(new Map([["a", pyTensor(storage, [2, 3], [3, 1], { legacy: true })]]), {
          0: { data: weights, length: 6 },
        }),
      },
    ],
    parse(input, file) {
      const checkpoint = parseTorchCheckpoint(input, file);
      const tensors = valuesIn(checkpoint.root).filter((value) => value instanceof TorchTensor);
      const read = checkpoint.read(new Map(tensors.slice(0, 20).map((tensor, i) => [`tensor ${i}`, tensor])));
      for (const array of read.values()) checkArray(array);
      return read;
    },
    errors: [TorchCheckpointError],
  },
  {
    name: "pickled-tensors",
    seeds: () => [
      { content: picklePackage(makePackage(2, ["front"], 2)) },
      { content: pickle(pyTuple([1, "text", null]), 3) },
    ],
    parse(input, file) {
      const content = unpickleWithTensors(input, file);
      const tensors = valuesIn(content.root).filter((value) => value instanceof TorchTensor);
      const read = tensors.slice(0, 20).map((tensor, i) => content.read(`tensor ${i}`, tensor));
      for (const array of read) checkArray(array);
      return read;
    },
    errors: [PickleError, TorchCheckpointError],
  },
];

function checkArray({ shape, data }: { shape: readonly number[]; data: { length: number } }): void {
  const count = shape.reduce((product, size) => product * size, 1);
  if (count !== data.length)
    throw new RangeError(`an array of shape [${shape.join(", ")}] has ${data.length} elements`);
}

/** All values within one, each once. */
function valuesIn(root: PickleValue): PickleValue[] {
  const found = new Set<PickleValue>([root]);
  for (const value of found) {
    const children =
      value instanceof Map
        ? [...value].flat()
        : value instanceof Set || Array.isArray(value)
          ? [...value]
          : value instanceof NdArray && Array.isArray(value.data)
            ? value.data
            : typeof value === "object" && value !== null && "state" in value
              ? [...value.state.values()]
              : [];
    for (const child of children) found.add(child);
  }
  return [...found];
}
