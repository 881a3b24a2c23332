import { encodeTorchCheckpoint, TorchCheckpointError, type WritableTorchArray } from "@md/pickle";
import type { Tensor } from "@md/tensor";
import { writeAtomically } from "../write-atomically.js";

/**
 * Writes tensors as a flat state dict that `torch.load` reads, with `weights_only` too: a zip archive of at most 2 GiB,
 * every tensor contiguous and of its dtype. As `writeSafetensors` it is atomic. TorchCheckpointError if it cannot be
 * written.
 */
export function writeTorchCheckpoint(path: string, tensors: ReadonlyMap<string, Tensor>): void {
  const arrays = new Map(
    [...tensors].map(([name, x]) => [name, { dtype: x.dtype, shape: x.shape, data: x.data() } as WritableTorchArray]),
  );
  const bytes = encodeTorchCheckpoint(arrays, path);
  try {
    writeAtomically(path, [bytes]);
  } catch (cause) {
    if (!(cause instanceof Error && "syscall" in cause)) throw cause;
    throw new TorchCheckpointError(path, "file", `cannot be written: ${cause.message}`, { cause });
  }
}
