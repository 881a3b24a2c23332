import { type AsyncZippable, zipSync } from "fflate";
import { type Picklable, pickle, pyCall, pyGlobal, pyPersistent, pyTuple } from "../../src/index.js";

/** A storage's class in `torch`, its key and its number of elements. */
export interface StorageSpec {
  className: string;
  key: string;
  length: number;
}

const noHooks = pyCall(pyGlobal("collections", "OrderedDict"));

/** A tensor as `torch.save` pickles it; `legacy` storages have one field more. */
export function pyTensor(
  { className, key, length }: StorageSpec,
  shape: readonly number[],
  strides: readonly number[],
  { offset = 0, legacy = false } = {},
): Picklable {
  const id = ["storage", pyGlobal("torch", className), key, "cpu", length, ...(legacy ? [null] : [])];
  return pyCall(
    pyGlobal("torch._utils", "_rebuild_tensor_v2"),
    pyPersistent(pyTuple(id)),
    offset,
    pyTuple(shape),
    pyTuple(strides),
    false,
    noHooks,
  );
}

export const bytesOf = (array: ArrayBufferView): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** The zip layout around a value. */
export function torchZip(
  root: Picklable | Uint8Array,
  storages: Record<string, ArrayBufferView>,
  { level = 0, extra = {} }: { level?: 0 | 1; extra?: Record<string, Uint8Array> } = {},
): Uint8Array {
  const entries: AsyncZippable = { "model/data.pkl": root instanceof Uint8Array ? root : pickle(root, 2) };
  for (const [key, data] of Object.entries(storages)) entries[`model/data/${key}`] = bytesOf(data);
  return zipSync({ ...entries, "model/version": Buffer.from("3\n"), ...extra } as Record<string, Uint8Array>, {
    level,
    mtime: new Date(1980, 0, 1),
  });
}

/** The legacy layout around a value; storages in the order of their keys. */
export function torchLegacy(
  root: Picklable,
  storages: Record<string, { data: ArrayBufferView; length: number }>,
): Uint8Array {
  const parts: Uint8Array[] = [
    Buffer.from([0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e]),
    pickle(1001, 2),
    pickle(new Map<string, Picklable>([["little_endian", true]]), 2),
    pickle(root, 2),
    pickle(Object.keys(storages), 2),
  ];
  for (const { data, length } of Object.values(storages)) {
    parts.push(bytesOf(BigInt64Array.of(BigInt(length))), bytesOf(data));
  }
  return Buffer.concat(parts);
}
