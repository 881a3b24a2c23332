import { zipSync, type Zippable } from "fflate";
import { pickle, pyCall, pyGlobal, pyPersistent, pyTuple } from "../pickler.js";
import { TorchCheckpointError } from "./error.js";
import { storageClasses } from "./storage-types.js";
import type { TorchArray } from "./views.js";

/** The most bytes of a PyTorch file that are read or written: what a zip archive without 64-bit sizes surely holds. */
export const MAX_TORCH_BYTES = 2 ** 31 - 1;

/** A tensor to write: as it is read, or the bits of f16 or bf16. */
export type WritableTorchArray = TorchArray | { dtype: "f16" | "bf16"; shape: readonly number[]; data: Uint16Array };

const FOLDER = "archive";
const ALIGNMENT = 64;
const MAX_TENSORS = 65_000;
const LOCAL_HEADER = 30;
// Id of the extra field that PyTorch pads with.
const PADDING_ID = 0x4246;
// Zip has dates from 1980 on; one that is fixed makes equal tensors equal files.
const DATE = new Date(1980, 0, 1);

/**
 * A state dict as `torch.load` reads it, with `weights_only` too: a zip archive with a pickle of protocol 2, uncompressed
 * and with every tensor's bytes at a multiple of 64.
 *
 * @param file name for error messages
 * @throws TorchCheckpointError for more than 65,000 tensors or 2 GiB
 */
export function encodeTorchCheckpoint(tensors: ReadonlyMap<string, WritableTorchArray>, file: string): Uint8Array {
  if (tensors.size > MAX_TENSORS)
    throw new TorchCheckpointError(file, "state dict", `has ${tensors.size} tensors, at most ${MAX_TENSORS} fit`);
  const storages = [...tensors.values()].map(({ data }, i) => [
    `data/${i}`,
    new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  ]) as [string, Uint8Array][];
  const content: [string, Uint8Array][] = [
    ["data.pkl", pickleStateDict(tensors)],
    ["byteorder", Buffer.from("little")],
    ...storages,
    ["version", Buffer.from("3\n")],
  ];
  const archive: Zippable = {};
  let offset = 0;
  for (const [name, bytes] of content) {
    const entry = `${FOLDER}/${name}`;
    const start = offset + LOCAL_HEADER + entry.length + 4;
    const padding = (ALIGNMENT - (start % ALIGNMENT)) % ALIGNMENT;
    archive[entry] = [bytes, { level: 0, mtime: DATE, extra: { [PADDING_ID]: new Uint8Array(padding) } }];
    offset = start + padding + bytes.length;
  }
  // The directory comes after, of some 150 bytes an entry.
  if (offset + 200 * content.length > MAX_TORCH_BYTES)
    throw new TorchCheckpointError(file, "state dict", `has ${offset} bytes, at most 2 GiB are written`);
  return zipSync(archive);
}

function pickleStateDict(tensors: ReadonlyMap<string, WritableTorchArray>): Uint8Array {
  const rebuild = pyGlobal("torch._utils", "_rebuild_tensor_v2");
  const noHooks = pyCall(pyGlobal("collections", "OrderedDict"));
  const entries = [...tensors].map(([name, { dtype, shape, data }], i) => {
    const storage = pyPersistent(
      pyTuple(["storage", pyGlobal("torch", storageClasses[dtype]), String(i), "cpu", data.length]),
    );
    return [name, pyCall(rebuild, storage, 0, pyTuple(shape), pyTuple(rowMajor(shape)), false, noHooks)] as const;
  });
  return pickle(new Map(entries), 2);
}

function rowMajor(shape: readonly number[]): number[] {
  const strides = shape.map(() => 1);
  for (let axis = shape.length - 2; axis >= 0; axis--) strides[axis] = strides[axis + 1] * Math.max(1, shape[axis + 1]);
  return strides;
}
