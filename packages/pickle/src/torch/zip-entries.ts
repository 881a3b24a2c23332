import { unzipSync } from "fflate";
import { TorchCheckpointError } from "./error.js";

const MAX_ENTRIES = 2 ** 17;

/** The entries of a zip archive in memory. Sizes are known at once, content is taken out when it is asked for. */
export class ZipEntries {
  /** Bytes of each entry when it is uncompressed, as the archive's directory claims. */
  readonly sizes = new Map<string, number>();

  /** @throws TorchCheckpointError for a broken directory, and for names that are there twice */
  constructor(
    private readonly bytes: Uint8Array,
    private readonly file: string,
  ) {
    this.unzip((name, size, claimed, compressed) => {
      if (this.sizes.has(name)) throw new TorchCheckpointError(file, entryField(name), "is there twice");
      if (this.sizes.size >= MAX_ENTRIES)
        throw new TorchCheckpointError(file, "zip directory", `has more than ${MAX_ENTRIES} entries`);
      if (!compressed && size !== claimed)
        throw new TorchCheckpointError(file, entryField(name), `has ${size} stored bytes, expected ${claimed}`);
      this.sizes.set(name, claimed);
      return false;
    });
  }

  /**
   * Content of the named entries, each in a buffer of its own. Allocates what {@link sizes} says of them: check that
   * first.
   *
   * @throws TorchCheckpointError for an entry that is absent, damaged or of another size than the directory claims
   */
  extract(names: ReadonlySet<string>): Map<string, Uint8Array<ArrayBuffer>> {
    const content = this.unzip((name) => names.has(name));
    return new Map(
      [...names].map((name) => {
        const size = this.sizes.get(name);
        if (size === undefined) throw new TorchCheckpointError(this.file, entryField(name), "is not in the archive");
        const found = Object.hasOwn(content, name) ? content[name] : new Uint8Array(0);
        if (found.length !== size)
          throw new TorchCheckpointError(this.file, entryField(name), `has ${found.length} bytes, expected ${size}`);
        return [name, found];
      }),
    );
  }

  private unzip(
    wanted: (name: string, size: number, claimed: number, compressed: boolean) => boolean,
  ): Record<string, Uint8Array<ArrayBuffer>> {
    try {
      return unzipSync(this.bytes, {
        filter: ({ name, size, originalSize, compression }) => wanted(name, size, originalSize, compression !== 0),
      });
    } catch (cause) {
      if (cause instanceof TorchCheckpointError) throw cause;
      const problem = cause instanceof Error ? cause.message : String(cause);
      throw new TorchCheckpointError(this.file, "zip archive", `cannot be read: ${problem}`, { cause });
    }
  }
}

const entryField = (name: string): string => `zip entry ${JSON.stringify(name.slice(0, 200))}`;
