import type { ByteSource } from "../byte-source.js";
import { DataError } from "../errors.js";

const MAGIC = 0xbeefc0de;
const DATA_VERSION = 1;
const PAGE_HEADER = 16;
const NODE_HEADER = 8;
const META_BYTES = 136;
const DATABASE_BYTES = 48;
const MAIN_DATABASE = 24 + DATABASE_BYTES;
const LAST_PAGE = MAIN_DATABASE + DATABASE_BYTES;
const TRANSACTION = LAST_PAGE + 8;
const NO_PAGE = 0xffffffffffffffffn;
/** Of a key path; LMDB's own limit. */
const MAX_DEPTH = 32;
const MAX_PAGE_BYTES = 65536;
/** Episodes have numbers of six digits. */
const MAX_KEYS = 2 ** 20;
const MAX_VALUE_BYTES = 512 * 2 ** 20;

const PAGE = { branch: 0x01, leaf: 0x02, overflow: 0x04, meta: 0x08 } as const;
const NODE = { overflow: 0x01, database: 0x02, duplicates: 0x04 } as const;

/**
 * Read-only view of an LMDB 0.9 environment (data version 1, 64-bit little-endian, as Python's `lmdb` writes it): the
 * unnamed database at the newest committed transaction. Follows the layout of LMDB's `mdb.c`.
 *
 * Values are read when they are asked for, never while keys are listed. No lock is taken: the file must not be written
 * to while it is read. Every page number, offset and length is checked, a branch that leads back is refused.
 */
export class LmdbReader {
  /** Number of keys, as the file declares it. */
  readonly entries: number;
  private readonly pageBytes: number;
  private readonly lastPage: number;
  private readonly depth: number;
  private readonly root: number;

  /** @throws DataError naming the file: foreign, truncated, or of another version or kind */
  constructor(private readonly bytes: ByteSource) {
    const first = this.readMeta(0);
    // The free-page database holds the page size where others hold padding.
    this.pageBytes = first.readUInt32LE(24);
    if (!(this.pageBytes >= 512 && this.pageBytes <= MAX_PAGE_BYTES && Number.isInteger(Math.log2(this.pageBytes))))
      throw this.error("page size", `is ${this.pageBytes}, expected a power of two from 512 to ${MAX_PAGE_BYTES}`);
    const second = this.readMeta(this.pageBytes);
    const meta = second.readBigUInt64LE(TRANSACTION) > first.readBigUInt64LE(TRANSACTION) ? second : first;
    this.lastPage = this.toNumber("last page", meta.readBigUInt64LE(LAST_PAGE));
    const bytesUsed = (this.lastPage + 1) * this.pageBytes;
    if (bytesUsed > bytes.size) throw this.error("file", `has ${bytes.size} bytes, expected ${bytesUsed}: truncated`);
    const flags = meta.readUInt16LE(MAIN_DATABASE + 4);
    if (flags !== 0) throw this.error("database flags", `are ${flags}, expected a plain database of byte keys`);
    this.depth = meta.readUInt16LE(MAIN_DATABASE + 6);
    this.entries = this.toNumber("entries", meta.readBigUInt64LE(MAIN_DATABASE + 32));
    if (this.depth > MAX_DEPTH) throw this.error("depth", `is ${this.depth}, expected at most ${MAX_DEPTH}`);
    if (this.entries > MAX_KEYS) throw this.error("entries", `are ${this.entries}, expected at most ${MAX_KEYS}`);
    const root = meta.readBigUInt64LE(MAIN_DATABASE + 40);
    this.root = root === NO_PAGE ? -1 : this.toNumber("root page", root);
    if (this.root < 0 !== (this.entries === 0) || this.root < 0 !== (this.depth === 0))
      throw this.error("root page", `is ${root} with ${this.entries} entries and depth ${this.depth}`);
  }

  /**
   * All keys in order.
   *
   * @throws DataError on a corrupt tree, or keys that are not in order
   */
  keys(): Buffer[] {
    const keys: Buffer[] = [];
    if (this.root < 0) return keys;
    const visited = new Set<number>();
    const pending = [{ number: this.root, level: 1 }];
    for (let next = pending.pop(); next; next = pending.pop()) {
      const { number, level } = next;
      if (visited.has(number)) throw this.error(`page ${number}`, "is reached twice");
      visited.add(number);
      const page = this.readPage(number, level);
      for (let i = 0; i < page.count; i++) if (page.isLeaf) keys.push(this.node(page, i).key);
      for (let i = page.count - 1; i >= 0 && !page.isLeaf; i--)
        pending.push({ number: this.node(page, i).child, level: level + 1 });
      if (keys.length > this.entries) throw this.error("entries", `are more than the ${this.entries} declared`);
    }
    if (keys.length !== this.entries)
      throw this.error("entries", `are ${keys.length}, but ${this.entries} are declared`);
    for (let i = 1; i < keys.length; i++)
      if (Buffer.compare(keys[i - 1], keys[i]) >= 0)
        throw this.error(`key ${describeKey(keys[i])}`, "is out of order or there twice");
    return keys;
  }

  /**
   * The value of a key, or undefined where there is none.
   *
   * @throws DataError on a corrupt tree
   */
  get(key: Uint8Array): Buffer | undefined {
    if (this.root < 0) return undefined;
    let number = this.root;
    for (let level = 1; ; level++) {
      const page = this.readPage(number, level);
      const at = this.lastNotAbove(page, key);
      if (!page.isLeaf) {
        number = this.node(page, Math.max(at, 0)).child;
        continue;
      }
      if (at < 0) return undefined;
      const node = this.node(page, at);
      return Buffer.compare(node.key, key) === 0 ? this.value(page, node) : undefined;
    }
  }

  // Index of the last node whose key is not above `key`, -1 for none. A branch's first key stands for all below it.
  private lastNotAbove(page: Page, key: Uint8Array): number {
    let low = page.isLeaf ? 0 : 1;
    let high = page.count - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (Buffer.compare(this.node(page, middle).key, key) <= 0) low = middle + 1;
      else high = middle - 1;
    }
    return high;
  }

  private readMeta(offset: number): Buffer {
    const { bytes } = this;
    if (offset + PAGE_HEADER + META_BYTES > bytes.size)
      throw this.error("file", "is too short for an LMDB environment");
    const page = bytes.read(offset, PAGE_HEADER + META_BYTES);
    const meta = page.subarray(PAGE_HEADER);
    const magic = meta.readUInt32LE(0);
    if (magic !== MAGIC || !(page.readUInt16LE(10) & PAGE.meta))
      throw this.error("magic", `is 0x${magic.toString(16)}, expected that of LMDB, 0x${MAGIC.toString(16)}`);
    const version = meta.readUInt32LE(4);
    if (version !== DATA_VERSION)
      throw this.error("data version", `is ${version}, expected ${DATA_VERSION}, that of LMDB 0.9`);
    return meta;
  }

  private readPage(number: number, level: number): Page {
    const bytes = this.bytes.read(this.offsetOf(number), this.pageBytes);
    const flags = bytes.readUInt16LE(10);
    const isLeaf = level === this.depth;
    if (bytes.readBigUInt64LE(0) !== BigInt(number) || (flags & 0x7fff) !== (isLeaf ? PAGE.leaf : PAGE.branch))
      throw this.error(`page ${number}`, `is no ${isLeaf ? "leaf" : "branch"} page (flags ${flags})`);
    const [lower, upper] = [bytes.readUInt16LE(12), bytes.readUInt16LE(14)];
    const count = (lower - PAGE_HEADER) / 2;
    const end = upper === 0 && this.pageBytes === MAX_PAGE_BYTES ? MAX_PAGE_BYTES : upper;
    if (!(Number.isInteger(count) && count >= 1 && lower <= end && end <= this.pageBytes))
      throw this.error(`page ${number}`, `has bounds ${lower} and ${upper}`);
    return { number, bytes, isLeaf, count, lower };
  }

  private node({ number, bytes, isLeaf, lower }: Page, index: number): Node {
    const offset = bytes.readUInt16LE(PAGE_HEADER + 2 * index);
    const name = `page ${number} node ${index}`;
    if (!(offset >= lower && offset + NODE_HEADER <= bytes.length)) throw this.error(name, `begins at byte ${offset}`);
    const low = bytes.readUInt32LE(offset);
    const flags = bytes.readUInt16LE(offset + 4);
    const dataStart = offset + NODE_HEADER + bytes.readUInt16LE(offset + 6);
    if (dataStart > bytes.length) throw this.error(name, "has a key that leaves the page");
    const key = bytes.subarray(offset + NODE_HEADER, dataStart);
    return isLeaf
      ? { name, key, dataStart, flags, dataBytes: low, child: -1 }
      : { name, key, dataStart, flags: 0, dataBytes: 0, child: low + flags * 2 ** 32 };
  }

  private value(page: Page, { name, dataStart, dataBytes, flags }: Node): Buffer {
    if (flags & (NODE.database | NODE.duplicates)) throw this.error(name, "is a database of its own or has duplicates");
    if (!(flags & NODE.overflow)) {
      if (dataStart + dataBytes > page.bytes.length) throw this.error(name, `has ${dataBytes} bytes, past its page`);
      return Buffer.from(page.bytes.subarray(dataStart, dataStart + dataBytes));
    }
    if (dataStart + 8 > page.bytes.length) throw this.error(name, "has no room for its overflow page");
    if (dataBytes > MAX_VALUE_BYTES)
      throw this.error(name, `has ${dataBytes} bytes, expected at most ${MAX_VALUE_BYTES}`);
    const first = this.toNumber(`${name} overflow page`, page.bytes.readBigUInt64LE(dataStart));
    const offset = this.offsetOf(first);
    const header = this.bytes.read(offset, PAGE_HEADER);
    const pages = header.readUInt32LE(12);
    const isOverflow =
      (header.readUInt16LE(10) & 0x7fff) === PAGE.overflow && header.readBigUInt64LE(0) === BigInt(first);
    if (!isOverflow) throw this.error(name, `refers to page ${first}, which is no overflow page`);
    if (first + pages - 1 > this.lastPage || PAGE_HEADER + dataBytes > pages * this.pageBytes)
      throw this.error(name, `has ${dataBytes} bytes in ${pages} pages from ${first} on, of ${this.lastPage + 1}`);
    return this.bytes.read(offset + PAGE_HEADER, dataBytes);
  }

  private offsetOf(number: number): number {
    if (!(number >= 2 && number <= this.lastPage))
      throw this.error(`page ${number}`, `is referred to, expected 2 to ${this.lastPage}`);
    return number * this.pageBytes;
  }

  private toNumber(field: string, value: bigint): number {
    if (value > BigInt(Number.MAX_SAFE_INTEGER) / BigInt(MAX_PAGE_BYTES)) throw this.error(field, `is ${value}`);
    return Number(value);
  }

  private error(field: string, problem: string): DataError {
    return new DataError(this.bytes.name, `${field} ${problem}`);
  }
}

/** A key for error messages. */
export const describeKey = (key: Uint8Array): string => JSON.stringify(Buffer.from(key).toString("latin1"));

interface Page {
  number: number;
  bytes: Buffer;
  isLeaf: boolean;
  count: number;
  lower: number;
}

interface Node {
  name: string;
  key: Buffer;
  dataStart: number;
  flags: number;
  dataBytes: number;
  child: number;
}
