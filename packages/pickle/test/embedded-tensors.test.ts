import { expect, test } from "vitest";
import {
  type Picklable,
  pickle,
  PickleError,
  pyCall,
  pyGlobal,
  pyPersistent,
  pyTuple,
  TorchTensor,
  unpickleWithTensors,
} from "../src/index.js";
import { torchLegacy } from "./support/torch-files.js";

const data = Float32Array.of(1, 2, 3, 4, 5, 6);
const storage = torchLegacy(
  pyPersistent(pyTuple(["storage", pyGlobal("torch", "FloatStorage"), "0", "cpu", 6, null])),
  {
    0: { data, length: 6 },
  },
);

/** A list of one tensor, as Python's own pickle writes it. */
function listOfTensor(file: Uint8Array, shape: number[], strides: number[]): Uint8Array {
  const bytes = pyCall(pyGlobal("_codecs", "encode"), Buffer.from(file).toString("latin1"), "latin1");
  const loaded: Picklable = pyCall(pyGlobal("torch.storage", "_load_from_bytes"), bytes);
  const hooks = pyCall(pyGlobal("collections", "OrderedDict"));
  const rebuild = pyGlobal("torch._utils", "_rebuild_tensor_v2");
  return pickle([pyCall(rebuild, loaded, 0, pyTuple(shape), pyTuple(strides), false, hooks)]);
}

function readTensor(bytes: Uint8Array): unknown {
  const { root, read } = unpickleWithTensors(bytes, "a.pkl");
  const [tensor] = root as [TorchTensor];
  expect(tensor).toBeInstanceOf(TorchTensor);
  return read("t", tensor);
}

test("tensors among other values bring their storages along", () => {
  expect(readTensor(listOfTensor(storage, [2, 3], [3, 1]))).toEqual({ dtype: "f32", shape: [2, 3], data });
  const turned = { dtype: "f32", shape: [3, 2], data: Float32Array.of(1, 4, 2, 5, 3, 6) };
  expect(readTensor(listOfTensor(storage, [3, 2], [1, 3]))).toEqual(turned);
});

test("storages that are cut short, foreign or too small are refused", () => {
  expect(() => readTensor(listOfTensor(storage.subarray(0, -1), [6], [1]))).toThrow(PickleError);
  expect(() => readTensor(listOfTensor(Buffer.from("no file"), [6], [1]))).toThrow(/of no file in the legacy layout/);
  expect(() => readTensor(listOfTensor(torchLegacy(["x"], {}), [6], [1]))).toThrow(/expected a storage/);
  expect(() => readTensor(listOfTensor(storage, [7], [1]))).toThrow(/reach elements 0 to 6 of a storage of 6/);
  const tail = Buffer.concat([listOfTensor(storage, [6], [1]), Buffer.from("x")]);
  expect(() => readTensor(tail)).toThrow(/1 bytes follow the end/);
});
