import { type PickleValue, unpickle } from "@md/pickle";
import { readBoundedFile } from "./read-file.js";

const MAX_BYTES = 256 * 2 ** 20;

/**
 * Reads a pickle of a recording without executing anything: builtin containers, numpy arrays, and instances of classes
 * of `rlbench.*` and `amsolver.*` as inert records.
 *
 * @throws PickleError on truncated, corrupt, oversized or not whitelisted input
 */
export function unpickleRecording(bytes: Uint8Array, source: string): PickleValue {
  return unpickle(bytes, source, { isRecord: isRecordedClass });
}

/** Reads a pickle file of a recording; see {@link unpickleRecording}. DataError where it cannot be read. */
export function readPickle(file: string): PickleValue {
  return unpickleRecording(readBoundedFile(file, MAX_BYTES), file);
}

const isRecordedClass = (name: string): boolean => /^(rlbench|amsolver)(\.[A-Za-z_]\w*)+$/.test(name);
