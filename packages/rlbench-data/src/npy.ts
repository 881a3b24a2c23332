import { NdArray, type PickleValue } from "@md/pickle";
import { DataError } from "./errors.js";
import { unpickleRecording } from "./read-pickle.js";
import { readBoundedFile } from "./read-file.js";

const MAGIC = "\x93NUMPY";
const MAX_HEADER = 65536;
const MAX_BYTES = 256 * 2 ** 20;

/**
 * Reads a `.npy` file that holds one pickled Python object, as `numpy.save` writes a dict.
 *
 * @throws DataError on any other `.npy` content, PickleError on a bad pickle
 */
export function readObjectNpy(file: string): PickleValue {
  const bytes = readBoundedFile(file, MAX_BYTES);
  if (bytes.length < 12 || bytes.toString("latin1", 0, 6) !== MAGIC) throw new DataError(file, "is no .npy file");
  const wide = bytes[6] >= 2;
  const headerStart = wide ? 12 : 10;
  const headerLength = wide ? bytes.readUInt32LE(8) : bytes.readUInt16LE(8);
  if (headerLength > MAX_HEADER || headerStart + headerLength > bytes.length)
    throw new DataError(file, `.npy header of ${headerLength} bytes does not fit`);
  const header = bytes.toString("latin1", headerStart, headerStart + headerLength);
  if (!/'descr':\s*'\|O'/.test(header) || !/'shape':\s*\(\)/.test(header))
    throw new DataError(
      file,
      `.npy header is ${header.trim().slice(0, 200)}, expected one pickled object (descr '|O', shape ())`,
    );
  const value = unpickleRecording(bytes.subarray(headerStart + headerLength), file);
  if (!(value instanceof NdArray) || !Array.isArray(value.data) || value.data.length !== 1)
    throw new DataError(file, ".npy content is not one pickled object");
  return value.data[0];
}
