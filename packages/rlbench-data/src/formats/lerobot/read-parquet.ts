import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";
import { DataError } from "../../errors.js";
import { readBoundedFile } from "../../read-file.js";

const MAX_BYTES = 512 * 2 ** 20;
const MAX_ROWS = 4096;
const MAX_HEAP_MB = 512;
const MAX_SECONDS = 20;

// The thread's program. The library bounds neither the sizes that a file claims nor the runs that it unpacks.
const program = `
const { parentPort, workerData: { library, file, columns, maxRows, maxBytes } } = require("node:worker_threads");
const SNAPPY = (packed, length) => {
  if (length > maxBytes) throw new Error("a page claims to unpack to " + length + " bytes");
  const bytes = new Uint8Array(length);
  snappy(packed, bytes);
  return bytes;
};
let snappy;
import(library).then(async ({ parquetMetadata, parquetReadObjects, snappyUncompress }) => {
  snappy = snappyUncompress;
  const metadata = parquetMetadata(file);
  const rows = Number(metadata.num_rows);
  if (!(rows <= maxRows)) throw new Error("it has " + rows + " rows, at most " + maxRows + " are allowed");
  const present = metadata.row_groups.flatMap((group) => group.columns.map(({ meta_data }) => meta_data));
  const size = present.reduce((sum, { total_uncompressed_size }) => sum + Number(total_uncompressed_size), 0);
  if (!(size <= maxBytes)) throw new Error("it claims to unpack to " + size + " bytes");
  const absent = columns.find((name) => !present.some(({ path_in_schema }) => path_in_schema[0] === name));
  if (absent !== undefined) throw new Error('it has no column "' + absent + '"');
  parentPort.postMessage({ rows: await parquetReadObjects({ file, metadata, columns, utf8: false, compressors: { SNAPPY } }) });
}).catch((error) => parentPort.postMessage({ problem: String(error?.message ?? error) }));
`;

/**
 * Reads columns of a parquet file. It is parsed in a thread of its own whose heap and time are bounded, so that no file
 * can exhaust or block this one.
 *
 * @returns an object a row: numbers, bigints, booleans, texts, nested arrays, and images as `{ bytes, path }`
 * @throws DataError naming the file: absent, too large, corrupt, with too many rows, or without one of the columns
 */
export async function readParquet(file: string, columns: readonly string[]): Promise<Record<string, unknown>[]> {
  const bytes = Uint8Array.from(readBoundedFile(file, MAX_BYTES));
  const library = createRequire(import.meta.url).resolve("hyparquet");
  const worker = new Worker(program, {
    eval: true,
    execArgv: [],
    workerData: { library, file: bytes.buffer, columns, maxRows: MAX_ROWS, maxBytes: MAX_BYTES },
    transferList: [bytes.buffer],
    resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
  });
  let timer: NodeJS.Timeout | undefined;
  try {
    const outcome = await new Promise<{ rows?: Record<string, unknown>[]; problem?: string }>((settle) => {
      timer = setTimeout(() => settle({ problem: `it takes longer than ${MAX_SECONDS} s` }), 1000 * MAX_SECONDS);
      worker.on("message", settle);
      worker.on("error", ({ message }) => settle({ problem: message }));
      worker.on("exit", () => settle({ problem: "its thread ended" }));
    });
    if (outcome.rows) return outcome.rows;
    throw new DataError(file, `cannot be read as parquet: ${outcome.problem}`);
  } finally {
    clearTimeout(timer);
    await worker.terminate();
  }
}
