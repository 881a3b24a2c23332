import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { DataError } from "./errors.js";

/** Bytes at positions. */
export interface ByteSource {
  /** Name for error messages, usually the file. */
  readonly name: string;
  readonly size: number;
  /**
   * A copy of `length` bytes from `offset` on.
   *
   * @throws DataError when they are not all within the source, or cannot be read
   */
  read(offset: number, length: number): Buffer;
}

/** Bytes in memory as a source. */
export function bytesInMemory(name: string, bytes: Uint8Array): ByteSource {
  return {
    name,
    size: bytes.length,
    read(offset, length) {
      checkRange(this, offset, length);
      return Buffer.from(bytes.subarray(offset, offset + length));
    },
  };
}

/**
 * Calls `body` with a file's bytes and closes the file again. Nothing is locked, so any number of readers may do so.
 *
 * @throws DataError when the file is absent, unreadable, or a pipe or device, which might never end
 */
export function withFileBytes<T>(file: string, body: (bytes: ByteSource) => T): T {
  // Opening a pipe would otherwise wait for a writer.
  const handle = guard(file, () => openSync(file, constants.O_RDONLY | constants.O_NONBLOCK));
  try {
    const stat = guard(file, () => fstatSync(handle));
    if (!stat.isFile()) throw new DataError(file, "is no regular file");
    return body({
      name: file,
      size: stat.size,
      read(offset, length) {
        checkRange(this, offset, length);
        const bytes = Buffer.allocUnsafeSlow(length);
        for (let at = 0; at < length;) {
          const count = guard(file, () => readSync(handle, bytes, at, length - at, offset + at));
          if (count === 0) throw new DataError(file, `ends at byte ${offset + at}, while it is read`);
          at += count;
        }
        return bytes;
      },
    });
  } finally {
    closeSync(handle);
  }
}

function checkRange({ name, size }: ByteSource, offset: number, length: number): void {
  if (!(offset >= 0 && length >= 0 && offset + length <= size))
    throw new DataError(name, `has ${size} bytes, but bytes ${offset} to ${offset + length} are referred to`);
}

function guard<T>(file: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw new DataError(file, `cannot be read: ${(error as Error).message}`, { cause: error });
  }
}
