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
const { parentPort, workerData: { library, maxRows, maxBytes } } = require("node:worker_threads");
const loading = import(library);
parentPort.on("message", async ({ file, columns }) => {
  try {
    const { parquetMetadata, parquetReadObjects, snappyUncompress } = await loading;
    const metadata = parquetMetadata(file);
    const rows = Number(metadata.num_rows);
    if (!(rows <= maxRows)) throw new Error("it has " + rows + " rows, at most " + maxRows + " are allowed");
    const present = metadata.row_groups.flatMap((group) => group.columns.map(({ meta_data }) => meta_data));
    const size = present.reduce((sum, { total_uncompressed_size }) => sum + Number(total_uncompressed_size), 0);
    if (!(size <= maxBytes)) throw new Error("it claims to unpack to " + size + " bytes");
    const absent = columns.find((name) => !present.some(({ path_in_schema }) => path_in_schema[0] === name));
    if (absent !== undefined) throw new Error('it has no column "' + absent + '"');
    const SNAPPY = (packed, length) => {
      if (!(length <= maxBytes)) throw new Error("a page claims to unpack to " + length + " bytes");
      const bytes = new Uint8Array(length);
      snappyUncompress(packed, bytes);
      return bytes;
    };
    const options = { file, metadata, columns, utf8: false, compressors: { SNAPPY } };
    parentPort.postMessage({ rows: await parquetReadObjects(options) });
  } catch (error) {
    parentPort.postMessage({ problem: String(error?.message ?? error) });
  }
});
`;

interface Outcome {
  rows?: Record<string, unknown>[];
  problem?: string;
}

let thread: ParquetThread | null = null;
let last: Promise<unknown> = Promise.resolve();

/**
 * Reads columns of a parquet file. It is parsed in a thread of its own whose heap and time are bounded, so that no file
 * can exhaust or block this one; the thread stays for the next file, one at a time.
 *
 * @returns an object a row: numbers, bigints, booleans, texts, nested arrays, and images as `{ bytes, path }`
 * @throws DataError naming the file: absent, too large, corrupt, with too many rows, or without one of the columns
 */
export async function readParquet(file: string, columns: readonly string[]): Promise<Record<string, unknown>[]> {
  const reading = last.then(async () => {
    const bytes = Uint8Array.from(readBoundedFile(file, MAX_BYTES)).buffer;
    thread ??= new ParquetThread();
    const { rows, problem } = await thread.ask({ file: bytes, columns });
    if (thread.ended) thread = null;
    if (!rows) throw new DataError(file, `cannot be read as parquet: ${problem}`);
    return rows;
  });
  last = reading.catch(() => undefined);
  return reading;
}

/** A thread that parses one file at a time, until a file ends it. */
class ParquetThread {
  ended = false;
  private readonly worker: Worker;
  private settle: ((outcome: Outcome) => void) | null = null;

  constructor() {
    const library = createRequire(import.meta.url).resolve("hyparquet");
    this.worker = new Worker(program, {
      eval: true,
      execArgv: [],
      workerData: { library, maxRows: MAX_ROWS, maxBytes: MAX_BYTES },
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
    });
    this.worker.on("message", (outcome: Outcome) => this.settle?.(outcome));
    this.worker.on("error", ({ message }) => this.end(message));
    this.worker.on("exit", () => this.end("its thread ended"));
  }

  async ask(request: { file: ArrayBuffer; columns: readonly string[] }): Promise<Outcome> {
    // A thread at work keeps the process alive, an idle one does not.
    this.worker.ref();
    const timer = setTimeout(() => this.end(`it takes longer than ${MAX_SECONDS} s`), 1000 * MAX_SECONDS);
    const outcome = await new Promise<Outcome>((settle) => {
      this.settle = settle;
      this.worker.postMessage(request, [request.file]);
    });
    clearTimeout(timer);
    this.settle = null;
    if (this.ended) await this.worker.terminate();
    else this.worker.unref();
    return outcome;
  }

  private end(problem: string): void {
    this.ended = true;
    this.settle?.({ problem });
  }
}
