import { unpickleFirst } from "../unpickler.js";
import { PickleError } from "../errors.js";
import type { UnpickleOptions } from "../options.js";
import { describeValue, PickleGlobal, type PickleValue, TorchStorage, type TorchTensor } from "../values.js";
import { torchDialect } from "./dialect.js";
import { TorchCheckpointError } from "./error.js";
import { isLegacy, openLegacy } from "./legacy.js";
import { copyView, type TorchArray, viewBytes } from "./views.js";

/** A pickle in memory whose values may be or hold PyTorch tensors. */
export interface PickleWithTensors {
  /** What was pickled; tensors stand in it as {@link TorchTensor}. */
  readonly root: PickleValue;
  /**
   * Copies a tensor out, row-major. f16 and bf16 become f32.
   *
   * @param name for error messages
   * @throws TorchCheckpointError naming the tensor that lies outside of its storage
   */
  read(name: string, tensor: TorchTensor): TorchArray;
}

/** Of all tensors that are copied out. */
const MAX_TENSOR_BYTES = 512 * 2 ** 20;

/**
 * Reads a pickle as Python's own `pickle.dump` writes it, not `torch.save`: each tensor brings its storage along as the
 * bytes of a file in PyTorch's legacy layout. Nothing is executed; see `unpickle`.
 *
 * @throws PickleError on truncated, corrupt, oversized or not whitelisted input
 */
export function unpickleWithTensors(
  bytes: Uint8Array,
  source: string,
  options: UnpickleOptions = {},
): PickleWithTensors {
  const content = new Map<TorchStorage, Uint8Array<ArrayBuffer>>();
  const dialect = torchDialect(new Map());
  const globals = new Map(dialect.globals);
  const name = "torch.storage._load_from_bytes";
  globals.set(
    name,
    new PickleGlobal(name, ([file], budget) => {
      if (!(file instanceof Uint8Array) || !isLegacy(file)) throw new Error(`${name} of no file in the legacy layout`);
      // The same bytes may be handed over many times, and are read each time.
      budget.take(8 * file.length);
      const { root, load } = openLegacy(file, source);
      if (!(root instanceof TorchStorage)) throw new Error(`${name} of ${describeValue(root)}, expected a storage`);
      const loaded = load(new Map([[root.key, root]]), (_field, size) => budget.take(size));
      content.set(root, loaded.get(root.key)!);
      return root;
    }),
  );
  let taken = 0;
  const { value: root, length } = unpickleFirst(bytes, source, options, { ...dialect, globals });
  if (length < bytes.length)
    throw new PickleError(source, "STOP", length - 1, `${bytes.length - length} bytes follow the end of the pickle`);
  return {
    root,
    read(name, tensor) {
      const storage = content.get(tensor.storage);
      const field = `tensor ${JSON.stringify(name)}`;
      if (!storage) throw new TorchCheckpointError(source, field, "names a storage whose bytes are not in the pickle");
      const size = viewBytes(source, name, tensor);
      taken += size;
      if (!(taken <= MAX_TENSOR_BYTES))
        throw new TorchCheckpointError(
          source,
          field,
          `takes ${size} bytes, with the others more than ${MAX_TENSOR_BYTES}`,
        );
      return copyView(source, name, tensor, storage);
    },
  };
}
