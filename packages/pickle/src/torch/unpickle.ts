import { PickleError } from "../errors.js";
import { unpickleFirst } from "../unpickler.js";
import type { PickleValue, TorchStorage } from "../values.js";
import { isScriptClass, torchDialect } from "./dialect.js";
import { TorchCheckpointError } from "./error.js";

/**
 * Reads the pickle that `bytes` begin with. The storages that it names gather in `storages`.
 *
 * @param field what the pickle is called in error messages
 * @throws TorchCheckpointError
 */
export function unpickleTorch(
  bytes: Uint8Array,
  file: string,
  field: string,
  storages: Map<string, TorchStorage>,
): { value: PickleValue; length: number } {
  try {
    return unpickleFirst(bytes, file, { isRecord: isScriptClass }, torchDialect(storages));
  } catch (cause) {
    if (!(cause instanceof PickleError)) throw cause;
    const problem = cause.message.replace(`[${file}] `, "");
    throw new TorchCheckpointError(file, field, `cannot be read: ${problem}`, { cause });
  }
}
