import { AllocationBudget, type PickleValue, type TorchStorage, type TorchTensor } from "../values.js";
import { TorchCheckpointError } from "./error.js";
import { isLegacy, openLegacy } from "./legacy.js";
import { isZip, openZip } from "./zip.js";
import { copyView, type TorchArray, viewBytes } from "./views.js";

export type { TorchArray } from "./views.js";

/** What the two layouts of a PyTorch file have in common. */
export interface TorchFile {
  root: PickleValue;
  /** Content of storages by their key, each in a buffer of its own; `allow` is asked for what that takes. */
  load(storages: ReadonlyMap<string, TorchStorage>, allow: (field: string, bytes: number) => void): StorageBytes;
}
export type StorageBytes = ReadonlyMap<string, Uint8Array<ArrayBuffer>>;

/** A PyTorch checkpoint in memory. */
export interface TorchCheckpoint {
  /**
   * What was saved: usually a dict, in which tensors stand as {@link TorchTensor}; of a TorchScript archive its module, a
   * `PickleObject` of parameters, buffers and further modules.
   */
  readonly root: PickleValue;
  /**
   * Copies tensors out, row-major; each storage is taken out once. f16 and bf16 become f32.
   *
   * @param tensors by the name for error messages
   * @throws TorchCheckpointError naming the tensor that lies outside of its storage, or the storage at fault
   */
  read(tensors: ReadonlyMap<string, TorchTensor>): Map<string, TorchArray>;
}

/**
 * Reads what `torch.save` wrote, as a zip archive (since PyTorch 1.6) or in the legacy layout, or `torch.jit.save`.
 * Nothing is executed: the pickle may name containers, numpy arrays and scalars, PyTorch's tensors, parameters, sizes,
 * devices and dtypes, and TorchScript's module classes, of which the attributes alone are read.
 * What is allocated is bounded by 64 MiB and sixteen times the file.
 *
 * @param file name for error messages
 * @throws TorchCheckpointError naming file and part: truncated, corrupt, hostile, or with a class that is not known
 */
export function parseTorchCheckpoint(bytes: Uint8Array, file: string): TorchCheckpoint {
  const budget = new AllocationBudget(64 * 2 ** 20 + 16 * bytes.length);
  const allow = (field: string, size: number): void => {
    try {
      budget.take(size);
    } catch (cause) {
      throw new TorchCheckpointError(file, field, (cause as Error).message, { cause });
    }
  };
  const { root, load } = open(bytes, file, allow);
  return {
    root,
    read(tensors) {
      const storages = new Map<string, TorchStorage>();
      for (const [name, tensor] of tensors) {
        allow(`tensor ${JSON.stringify(name)}`, viewBytes(file, name, tensor));
        storages.set(tensor.storage.key, tensor.storage);
      }
      const content = load(storages, allow);
      return new Map(
        [...tensors].map(([name, tensor]) => [name, copyView(file, name, tensor, content.get(tensor.storage.key)!)]),
      );
    },
  };
}

function open(bytes: Uint8Array, file: string, allow: (field: string, bytes: number) => void): TorchFile {
  if (isZip(bytes)) return openZip(bytes, file, allow);
  if (isLegacy(bytes)) return openLegacy(bytes, file);
  throw new TorchCheckpointError(file, "file", "is no PyTorch checkpoint: neither a zip archive nor the legacy layout");
}
