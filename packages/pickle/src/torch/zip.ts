import type { TorchStorage } from "../values.js";
import { TorchCheckpointError } from "./error.js";
import type { TorchFile } from "./parse.js";
import { itemBytes } from "./storage-types.js";
import { unpickleTorch } from "./unpickle.js";
import { ZipEntries } from "./zip-entries.js";

const PICKLE = "data.pkl";

export const isZip = (bytes: Uint8Array): boolean => [0x50, 0x4b, 3, 4].every((byte, i) => bytes[i] === byte);

/** Opens the zip layout: `NAME/data.pkl` and a storage in each `NAME/data/KEY`. */
export function openZip(bytes: Uint8Array, file: string, allow: (field: string, bytes: number) => void): TorchFile {
  const entries = new ZipEntries(bytes, file);
  const pickles = [...entries.sizes.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  if (pickles.length !== 1) {
    const problem = `has ${pickles.length} entries NAME/${PICKLE}, expected one`;
    throw new TorchCheckpointError(file, "zip archive", problem);
  }
  const folder = pickles[0].slice(0, -PICKLE.length);
  const byteOrder = `${folder}byteorder`;
  const small = new Set([pickles[0], ...(entries.sizes.has(byteOrder) ? [byteOrder] : [])]);
  for (const name of small) allow(`zip entry "${name}"`, entries.sizes.get(name)!);
  const head = entries.extract(small);
  const order = Buffer.from(head.get(byteOrder) ?? []).toString("latin1");
  if (order !== "" && order !== "little")
    throw new TorchCheckpointError(file, "byteorder", `is ${JSON.stringify(order.slice(0, 20))}, expected "little"`);

  const { value: root } = unpickleTorch(head.get(pickles[0])!, file, PICKLE, new Map());
  const entryOf = (key: string): string => `${folder}data/${key}`;
  return {
    root,
    load(storages, allow) {
      for (const storage of storages.values()) checkSize(file, storage, entries.sizes.get(entryOf(storage.key)), allow);
      const content = entries.extract(new Set([...storages.keys()].map(entryOf)));
      return new Map([...storages.keys()].map((key) => [key, content.get(entryOf(key))!]));
    },
  };
}

function checkSize(
  file: string,
  { key, length, type }: TorchStorage,
  found: number | undefined,
  allow: (field: string, bytes: number) => void,
): void {
  const field = `storage ${JSON.stringify(key)}`;
  const expected = length * itemBytes[type];
  if (found === undefined) throw new TorchCheckpointError(file, field, "is not in the archive");
  if (found !== expected)
    throw new TorchCheckpointError(file, field, `has ${found} bytes, expected ${expected} for ${type} [${length}]`);
  allow(field, expected);
}
