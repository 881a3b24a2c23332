import { inflateRawSync } from "node:zlib";
import { TorchCheckpointError } from "./error.js";
import { packedBytes, readZipDirectory, type ZipEntry } from "./zip-directory.js";

const MAX_ENTRIES = 2 ** 17;
const STORED = 0;
const DEFLATED = 8;

/** The entries of a zip archive in memory. Sizes are known at once, content is taken out when it is asked for. */
export class ZipEntries {
  /** Bytes of each entry when it is uncompressed, as the archive's directory claims. */
  readonly sizes = new Map<string, number>();
  private readonly entries = new Map<string, ZipEntry>();
  private readonly bytes: Buffer;

  /** @throws TorchCheckpointError for a broken directory, and for names that are there twice */
  constructor(
    bytes: Uint8Array,
    private readonly file: string,
  ) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    for (const entry of this.guard("zip archive", () => readZipDirectory(this.bytes, MAX_ENTRIES))) {
      const { name, compression, packedSize, size } = entry;
      if (this.entries.has(name)) throw this.error(name, "is there twice");
      if (compression !== STORED && compression !== DEFLATED)
        throw this.error(name, `has compression ${compression}, expected ${STORED} (none) or ${DEFLATED} (deflate)`);
      if (compression === STORED && packedSize !== size)
        throw this.error(name, `has ${packedSize} stored bytes, expected ${size}`);
      this.entries.set(name, entry);
      this.sizes.set(name, size);
    }
  }

  /**
   * Content of the named entries, each in a buffer of its own. Allocates what {@link sizes} says of them, and for a
   * deflated one as much again while it is taken out: check that first. No entry is uncompressed beyond its size.
   *
   * @throws TorchCheckpointError for an entry that is absent, damaged or of another size than the directory claims
   */
  extract(names: ReadonlySet<string>): Map<string, Uint8Array<ArrayBuffer>> {
    return new Map([...names].map((name) => [name, this.content(name)]));
  }

  private content(name: string): Uint8Array<ArrayBuffer> {
    const entry = this.entries.get(name);
    if (!entry) throw this.error(name, "is not in the archive");
    const content = this.guard(entryField(name), () => {
      const packed = packedBytes(this.bytes, entry);
      return entry.compression === STORED
        ? packed
        : inflateRawSync(packed, { maxOutputLength: Math.max(1, entry.size) });
    });
    if (content.length !== entry.size) throw this.error(name, `has ${content.length} bytes, expected ${entry.size}`);
    return new Uint8Array(content);
  }

  private guard<T>(field: string, body: () => T): T {
    try {
      return body();
    } catch (cause) {
      throw new TorchCheckpointError(this.file, field, `cannot be read: ${(cause as Error).message}`, { cause });
    }
  }

  private error(name: string, problem: string): TorchCheckpointError {
    return new TorchCheckpointError(this.file, entryField(name), problem);
  }
}

const entryField = (name: string): string => `zip entry ${JSON.stringify(name.slice(0, 200))}`;
