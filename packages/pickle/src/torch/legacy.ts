import { describeValue, type PickleValue, type TorchStorage } from "../values.js";
import { TorchCheckpointError } from "./error.js";
import type { StorageBytes, TorchFile } from "./parse.js";
import { itemBytes } from "./storage-types.js";
import { unpickleTorch } from "./unpickle.js";

// The pickle of 0x1950a86a20f9469cfc6c, with which the layout begins.
const MAGIC = [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e];
const PROTOCOL = 1001;

export const isLegacy = (bytes: Uint8Array): boolean => MAGIC.every((byte, i) => bytes[i] === byte);

/**
 * Opens the layout of `torch.save` before PyTorch 1.6: pickles of a magic number, protocol, system, value and storage
 * keys, and after them for each key the number of its elements (64 bits) and their bytes.
 */
export function openLegacy(bytes: Uint8Array, file: string): TorchFile {
  const storages = new Map<string, TorchStorage>();
  let position = MAGIC.length;
  const next = (field: string): PickleValue => {
    const { value, length } = unpickleTorch(bytes.subarray(position), file, field, storages);
    position += length;
    return value;
  };
  const protocol = next("protocol version");
  if (protocol !== PROTOCOL)
    throw new TorchCheckpointError(
      file,
      "protocol version",
      `is ${typeof protocol === "number" ? protocol : describeValue(protocol)}, expected ${PROTOCOL}`,
    );
  const system = next("system information");
  if (!(system instanceof Map) || system.get("little_endian") !== true)
    throw new TorchCheckpointError(file, "system information", "is not that of a little-endian machine");
  const root = next("pickle");
  const keys = next("storage keys");
  const content = locate(bytes, position, keys, storages, file);
  return {
    root,
    load(wanted, allow) {
      const found = new Map<string, Uint8Array<ArrayBuffer>>();
      for (const key of wanted.keys()) {
        const field = `storage ${JSON.stringify(key)}`;
        const view = content.get(key);
        if (!view) throw new TorchCheckpointError(file, field, "is not among the storage keys");
        allow(field, view.length);
        found.set(key, new Uint8Array(view));
      }
      return found;
    },
  };
}

function locate(
  bytes: Uint8Array,
  start: number,
  keys: PickleValue,
  storages: ReadonlyMap<string, TorchStorage>,
  file: string,
): StorageBytes {
  if (!Array.isArray(keys)) throw new TorchCheckpointError(file, "storage keys", "are no list");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found = new Map<string, Uint8Array<ArrayBuffer>>();
  let position = start;
  for (const key of keys) {
    const storage = typeof key === "string" ? storages.get(key) : undefined;
    if (!storage) throw new TorchCheckpointError(file, "storage keys", "have one that no tensor names");
    const field = `storage ${JSON.stringify(storage.key)}`;
    if (found.has(storage.key)) throw new TorchCheckpointError(file, field, "is there twice");
    if (bytes.length - position < 8) throw new TorchCheckpointError(file, field, "begins after the end of the file");
    const length = view.getBigInt64(position, true);
    if (length !== BigInt(storage.length))
      throw new TorchCheckpointError(file, field, `has ${length} elements, expected ${storage.length}`);
    position += 8;
    const size = storage.length * itemBytes[storage.type];
    if (size > bytes.length - position)
      throw new TorchCheckpointError(file, field, `needs ${size} bytes, ${bytes.length - position} are left`);
    found.set(storage.key, new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset + position, size));
    position += size;
  }
  if (position !== bytes.length)
    throw new TorchCheckpointError(file, "file", `has ${bytes.length - position} bytes after the last storage`);
  return found;
}
