import { type ChildProcess, spawn } from "node:child_process";
import { statSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { DataError } from "../../errors.js";

const MAX_BYTES = 512 * 2 ** 20;
const MAX_ROWS = 4096;
const MAX_HEAP_MB = 512;
/** Of processor time; a sound file takes a tenth of it. */
const SECONDS_A_FILE = 1;
const SECONDS_A_MEGABYTE = 1;

// The child's program. The library bounds neither the sizes that a file claims nor the runs that it unpacks, and a thread
// that runs out of memory can take the process along. A thread beside the parser ends the process at a file's deadline,
// in microseconds of processor time, so that a busy machine makes no file a bad one.
const program = `
const { readFileSync } = require("node:fs");
const { Worker } = require("node:worker_threads");
const [library, maxRows, maxBytes] = JSON.parse(process.argv[1]);
const used = () => Object.values(process.cpuUsage()).reduce((sum, time) => sum + time);
const never = 2n ** 62n;
const deadline = new BigInt64Array(new SharedArrayBuffer(8)).fill(never);
const watchdog = \`
const { workerData: deadline } = require("node:worker_threads");
const used = \${used};
setInterval(() => BigInt(used()) > Atomics.load(deadline, 0) && process.kill(process.pid, "SIGXCPU"), 20);
\`;
new Worker(watchdog, { eval: true, workerData: deadline }).unref();
const loading = import(library);
process.on("message", async ({ file, columns, seconds }) => {
  try {
    const { parquetMetadata, parquetReadObjects, snappyUncompress } = await loading;
    Atomics.store(deadline, 0, BigInt(used() + Math.ceil(1e6 * seconds)));
    const bytes = Uint8Array.from(readFileSync(file)).buffer;
    const metadata = parquetMetadata(bytes);
    const rows = Number(metadata.num_rows);
    if (!(rows <= maxRows)) throw new Error("it has " + rows + " rows, at most " + maxRows + " are allowed");
    const present = metadata.row_groups.flatMap((group) => group.columns.map(({ meta_data }) => meta_data));
    const size = present.reduce((sum, { total_uncompressed_size }) => sum + Number(total_uncompressed_size), 0);
    if (!(size <= maxBytes)) throw new Error("it claims to unpack to " + size + " bytes");
    const absent = columns.find((name) => !present.some(({ path_in_schema }) => path_in_schema[0] === name));
    if (absent !== undefined) throw new Error('it has no column "' + absent + '"');
    const SNAPPY = (packed, length) => {
      if (!(length <= maxBytes)) throw new Error("a page claims to unpack to " + length + " bytes");
      const unpacked = new Uint8Array(length);
      snappyUncompress(packed, unpacked);
      return unpacked;
    };
    const options = { file: bytes, metadata, columns, utf8: false, compressors: { SNAPPY } };
    process.send({ rows: await parquetReadObjects(options) });
  } catch (error) {
    process.send({ problem: String(error?.message ?? error) });
  } finally {
    Atomics.store(deadline, 0, never);
  }
});
`;

interface Outcome {
  rows?: Record<string, unknown>[];
  problem?: string;
}

let parser: ParquetProcess | null = null;
let last: Promise<unknown> = Promise.resolve();

/**
 * Reads columns of a parquet file. It is parsed in a process of its own whose heap and processor time are bounded (by one
 * second, and one a megabyte), so that no file can exhaust or block this one; the process stays for the next file, one at
 * a time.
 *
 * @returns an object a row: numbers, bigints, booleans, texts, nested arrays, and images as `{ bytes, path }`
 * @throws DataError naming the file: absent, too large, corrupt, with too many rows, or without one of the columns
 */
export async function readParquet(file: string, columns: readonly string[]): Promise<Record<string, unknown>[]> {
  const seconds = SECONDS_A_FILE + (SECONDS_A_MEGABYTE * sizeOf(file)) / 1e6;
  const reading = last.then(async () => {
    parser ??= new ParquetProcess();
    const { rows, problem } = await parser.ask({ file, columns, seconds });
    if (parser.ended) parser = null;
    if (!rows) throw new DataError(file, `cannot be read as parquet: ${problem}`);
    return rows;
  });
  last = reading.catch(() => undefined);
  return reading;
}

function sizeOf(file: string): number {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (!stat?.isFile()) throw new DataError(file, stat ? "is no regular file" : "is missing");
  if (stat.size > MAX_BYTES)
    throw new DataError(file, `has ${stat.size} bytes, which are too many; at most ${MAX_BYTES} are allowed`);
  return stat.size;
}

/** A process that parses one file at a time, until a file ends it. */
class ParquetProcess {
  ended = false;
  private readonly child: ChildProcess;
  private settle: ((outcome: Outcome) => void) | null = null;

  constructor() {
    const library = pathToFileURL(createRequire(import.meta.url).resolve("hyparquet")).href;
    const limits = JSON.stringify([library, MAX_ROWS, MAX_BYTES]);
    this.child = spawn(process.execPath, [`--max-old-space-size=${MAX_HEAP_MB}`, "-e", program, limits], {
      stdio: ["ignore", "ignore", "ignore", "ipc"],
      serialization: "advanced",
      env: {},
    });
    this.child.on("message", (outcome) => this.settle?.(outcome as Outcome));
    this.child.on("error", ({ message }) => this.end(message));
    this.child.on("exit", (_, signal) =>
      this.end(
        signal === "SIGXCPU"
          ? "it takes far longer than a file of its size should"
          : `it needs more than ${MAX_HEAP_MB} MB of heap, or its process was ended`,
      ),
    );
  }

  async ask(request: { file: string; columns: readonly string[]; seconds: number }): Promise<Outcome> {
    // A process at work keeps this one alive, an idle one does not.
    this.child.ref();
    this.child.channel?.ref();
    const outcome = await new Promise<Outcome>((settle) => {
      this.settle = settle;
      this.child.send(request, (error) => error && this.end(error.message));
    });
    this.settle = null;
    if (this.ended) this.child.kill("SIGKILL");
    this.child.unref();
    this.child.channel?.unref();
    return outcome;
  }

  private end(problem: string): void {
    this.ended = true;
    this.settle?.({ problem });
  }
}
