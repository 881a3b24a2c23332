import type { PickleDialect } from "../options.js";
import {
  describeValue,
  PickleGlobal,
  type PickleValue,
  TorchStorage,
  type TorchStorageType,
  TorchTensor,
} from "../values.js";
import { storageClasses } from "./storage-types.js";

/** More than any tensor has axes; the same tuple may be named again and again. */
const MAX_INTEGERS = 64;

const storageTypes = new Map<string, TorchStorageType>();
const globals = new Map<string, PickleGlobal>();

function allow(name: string, call?: PickleGlobal["call"]): void {
  globals.set(name, new PickleGlobal(name, call));
}

for (const [type, name] of Object.entries(storageClasses)) {
  storageTypes.set(`torch.${name}`, type as TorchStorageType);
  allow(`torch.${name}`);
}
for (const dtype of ["float16", "bfloat16", "float32", "float64", "int32", "int64", "uint8", "bool"])
  allow(`torch.${dtype}`);
allow("torch._utils._rebuild_tensor", rebuildTensor);
allow("torch._utils._rebuild_tensor_v2", rebuildTensor);
allow("torch._utils._rebuild_parameter", ([data]) => {
  if (!(data instanceof TorchTensor)) throw new Error(`parameter of ${describeValue(data ?? null)}, expected a tensor`);
  return data;
});
allow("torch.Size", ([sizes]) => integers("torch.Size", sizes));
allow("torch.device", (args) => {
  const [type, index] = args;
  if (typeof type !== "string") throw new Error("torch.device without a type");
  return typeof index === "number" ? `${type}:${index}` : type;
});

// TorchScript says of lists and dicts what they hold.
for (const name of ["build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag"])
  allow(`torch.jit._pickle.${name}`, ([value = null]) => value);

/** Whether a class is one of the module classes that a TorchScript archive defines in its own code, which is not run. */
export const isScriptClass = (name: string): boolean => name.startsWith("__torch__.");

/** The whitelist of a PyTorch file; the storages that its tensors name gather in `storages`, by key. */
export function torchDialect(storages: Map<string, TorchStorage>): PickleDialect {
  return {
    globals,
    persistentLoad(id) {
      const storage = parseStorage(id);
      const known = storages.get(storage.key);
      if (!known) storages.set(storage.key, storage);
      else if (known.type !== storage.type || known.length !== storage.length)
        throw new Error(`storage "${storage.key}" is both ${describeValue(known)} and ${describeValue(storage)}`);
      return known ?? storage;
    },
  };
}

// ("storage", class, key, location, number of elements), and in legacy files a view, which PyTorch 0.4 did away with.
function parseStorage(id: PickleValue): TorchStorage {
  if (!Array.isArray(id) || id[0] !== "storage") throw new Error(`persistent id of ${describeValue(id)}`);
  const [, type, key, , length, view = null] = id;
  const elementType = type instanceof PickleGlobal ? storageTypes.get(type.name) : undefined;
  if (elementType === undefined) throw new Error(`storage class is ${describeValue(type ?? null)}`);
  if (typeof key !== "string" || key.length > 100) throw new Error(`storage key is ${describeValue(key ?? null)}`);
  if (typeof length !== "number" || !Number.isSafeInteger(length) || length < 0)
    throw new Error(
      `storage "${key}" has ${typeof length === "number" ? length : describeValue(length ?? null)} elements`,
    );
  if (view !== null) throw new Error(`storage "${key}" is a view, as PyTorch before 0.4 wrote them`);
  return new TorchStorage(key, elementType, length);
}

// (storage, offset, shape, strides, …): requires_grad and hooks mean nothing to us.
function rebuildTensor([storage = null, offset, shape, strides]: PickleValue[]): TorchTensor {
  if (!(storage instanceof TorchStorage)) throw new Error(`tensor of ${describeValue(storage)}, expected a storage`);
  return new TorchTensor(
    storage,
    integers("offset", [offset ?? null])[0],
    integers("shape", shape),
    integers("strides", strides),
  );
}

function integers(what: string, value: PickleValue | undefined): number[] {
  const isShort = Array.isArray(value) && value.length <= MAX_INTEGERS;
  if (!isShort || !value.every((item): item is number => Number.isSafeInteger(item)))
    throw new Error(`${what} is no tuple of at most ${MAX_INTEGERS} integers`);
  // A copy: the pickle may go on to append to a list.
  return [...value];
}
