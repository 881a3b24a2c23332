import { readFileSync, statSync } from "node:fs";
import { DataError } from "./errors.js";

/**
 * Content of a regular file of at most `maxBytes`.
 *
 * @throws DataError naming the file: absent, unreadable, too large, or a pipe or device, which might never end
 */
export function readBoundedFile(file: string, maxBytes: number): Buffer {
  try {
    const stat = statSync(file);
    if (!stat.isFile()) throw new DataError(file, "is no regular file");
    if (stat.size > maxBytes)
      throw new DataError(file, `has ${stat.size} bytes, which are too many; at most ${maxBytes} are allowed`);
    return readFileSync(file);
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw new DataError(file, `cannot be read: ${(error as Error).message}`, { cause: error });
  }
}
