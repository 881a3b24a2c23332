import { readFileSync, statSync } from "node:fs";
import { MAX_TORCH_BYTES, parseTorchCheckpoint, TorchCheckpointError } from "@md/pickle";
import { type Tensor, tensor } from "@md/tensor";
import type { HostTensor } from "../safetensors/index.js";
import { selectTensors } from "./select.js";

export interface TorchReadOptions {
  /**
   * Where in the file the tensors are, such as `model` in `{"model": …, "epoch": 3}` or `optimizer.state`. Default: the
   * whole, where tensors stand directly in it, else the only part of it that has some.
   */
  key?: string;
  /** Which tensors of that part to read, by their names. Default: all. */
  wanted?: (name: string) => boolean;
}

/**
 * The tensors of a PyTorch checkpoint (`torch.save`, zip or legacy, at most 2 GiB) on the host. Nested containers become
 * dotted names; f16 and bf16 become f32. Nothing in the file is executed.
 *
 * @returns the tensors, the part that they are from (null: the whole), and the names of all else, which was left out
 * @throws TorchCheckpointError naming file and part: absent, corrupt, hostile, or of more than one part with tensors
 */
export function readTorchCheckpointArrays(
  path: string,
  { key, wanted = () => true }: TorchReadOptions = {},
): { arrays: Map<string, HostTensor>; key: string | null; skipped: string[] } {
  const checkpoint = parseTorchCheckpoint(readWhole(path), path);
  const selection = selectTensors(checkpoint.root, key, path);
  const tensors = new Map([...selection.tensors].filter(([name]) => wanted(name)));
  return { arrays: checkpoint.read(tensors), key: selection.key, skipped: selection.skipped };
}

/** The tensors of a PyTorch checkpoint in the current scope; see {@link readTorchCheckpointArrays}. */
export function readTorchCheckpoint(path: string, options: TorchReadOptions = {}): Map<string, Tensor> {
  const { arrays } = readTorchCheckpointArrays(path, options);
  return new Map([...arrays].map(([name, { data, shape, dtype }]) => [name, tensor(data, { shape, dtype })]));
}

function readWhole(path: string): Uint8Array {
  try {
    const stat = statSync(path);
    if (!stat.isFile()) throw new TorchCheckpointError(path, "file", "is not a regular file");
    if (stat.size > MAX_TORCH_BYTES)
      throw new TorchCheckpointError(path, "file", `has ${stat.size} bytes, expected at most ${MAX_TORCH_BYTES}`);
    return readFileSync(path);
  } catch (cause) {
    if (!(cause instanceof Error && "syscall" in cause)) throw cause;
    throw new TorchCheckpointError(path, "file", `cannot be read: ${cause.message}`, { cause });
  }
}
