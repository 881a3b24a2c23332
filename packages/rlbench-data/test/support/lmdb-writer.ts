import { closeSync, openSync, writeSync } from "node:fs";

const PAGE_BYTES = 4096;
const HEADER = 16;
const NODE_HEADER = 8;
const MAX_NODE = ((((PAGE_BYTES - HEADER) / 2) | 1) ^ 1) - 2;
const NO_PAGE = 0xffffffffffffffffn;
const PAGE = { branch: 1, leaf: 2, overflow: 4, meta: 8 };
const OVERFLOW_NODE = 1;

/** What a tree's page is to its parent. */
interface Child {
  key: Buffer;
  page: number;
}

/**
 * Writes an LMDB 0.9 environment file with the given keys, as its bulk loading would: leaves from left to right, values
 * that do not fit a page on overflow pages, branches above. For tests and benchmarks of the reader.
 *
 * @param entries in ascending order of key; values are written as they come, so all of them need not be in memory
 */
export function writeLmdb(file: string, entries: Iterable<readonly [key: string, value: Uint8Array]>): void {
  const handle = openSync(file, "w");
  try {
    const tree = new TreeWriter(handle);
    for (const [key, value] of entries) tree.add(Buffer.from(key), value);
    tree.finish();
  } finally {
    closeSync(handle);
  }
}

class TreeWriter {
  private nextPage = 2;
  private entries = 0;
  private overflowPages = 0;
  private leaf: Buffer[] = [];
  private readonly leaves: Child[] = [];
  private firstKey: Buffer = Buffer.alloc(0);

  constructor(private readonly handle: number) {}

  add(key: Buffer, value: Uint8Array): void {
    const isLarge = NODE_HEADER + key.length + value.length > MAX_NODE;
    const data = Buffer.from(isLarge ? this.writeOverflow(value) : value);
    const node = makeNode(key, data, value.length, isLarge ? OVERFLOW_NODE : 0);
    if (!fits([...this.leaf, node])) this.endLeaf();
    if (this.leaf.length === 0) this.firstKey = key;
    this.leaf.push(node);
    this.entries++;
  }

  finish(): void {
    this.endLeaf();
    let level = this.leaves;
    let [depth, branches] = [level.length > 0 ? 1 : 0, 0];
    while (level.length > 1) {
      const above: Child[] = [];
      for (let at = 0; at < level.length;) {
        const nodes: Buffer[] = [];
        const first = at;
        // The first key of a branch stands for all that is below, and is empty.
        for (let node = makeBranch(level[at], true); at < level.length && fits([...nodes, node]);) {
          nodes.push(node);
          if (++at < level.length) node = makeBranch(level[at], false);
        }
        above.push({ key: level[first].key, page: this.writePage(PAGE.branch, nodes) });
        branches++;
      }
      level = above;
      depth++;
    }
    for (const transaction of [0, 1]) this.writeMeta(transaction, level[0]?.page, depth, branches);
  }

  private endLeaf(): void {
    if (this.leaf.length === 0) return;
    this.leaves.push({ key: this.firstKey, page: this.writePage(PAGE.leaf, this.leaf) });
    this.leaf = [];
  }

  // The overflow page's number, as the node stores it.
  private writeOverflow(value: Uint8Array): Buffer {
    const pages = Math.ceil((HEADER + value.length) / PAGE_BYTES);
    const bytes = Buffer.alloc(pages * PAGE_BYTES);
    bytes.writeBigUInt64LE(BigInt(this.nextPage), 0);
    bytes.writeUInt16LE(PAGE.overflow, 10);
    bytes.writeUInt32LE(pages, 12);
    bytes.set(value, HEADER);
    writeSync(this.handle, bytes, 0, bytes.length, this.nextPage * PAGE_BYTES);
    const number = Buffer.alloc(8);
    number.writeBigUInt64LE(BigInt(this.nextPage));
    this.nextPage += pages;
    this.overflowPages += pages;
    return number;
  }

  private writePage(flags: number, nodes: readonly Buffer[]): number {
    const page = Buffer.alloc(PAGE_BYTES);
    page.writeBigUInt64LE(BigInt(this.nextPage), 0);
    page.writeUInt16LE(flags, 10);
    let upper = PAGE_BYTES;
    nodes.forEach((node, i) => {
      upper -= node.length;
      node.copy(page, upper);
      page.writeUInt16LE(upper, HEADER + 2 * i);
    });
    page.writeUInt16LE(HEADER + 2 * nodes.length, 12);
    page.writeUInt16LE(upper, 14);
    writeSync(this.handle, page, 0, PAGE_BYTES, this.nextPage * PAGE_BYTES);
    return this.nextPage++;
  }

  private writeMeta(transaction: number, root: number | undefined, depth: number, branches: number): void {
    const page = Buffer.alloc(PAGE_BYTES);
    page.writeBigUInt64LE(BigInt(transaction), 0);
    page.writeUInt16LE(PAGE.meta, 10);
    const meta = page.subarray(HEADER);
    meta.writeUInt32LE(0xbeefc0de, 0);
    meta.writeUInt32LE(1, 4);
    meta.writeBigUInt64LE(BigInt(this.nextPage * PAGE_BYTES), 16);
    meta.writeUInt32LE(PAGE_BYTES, 24);
    meta.writeBigUInt64LE(NO_PAGE, 24 + 40);
    const main = meta.subarray(72);
    main.writeUInt16LE(depth, 6);
    main.writeBigUInt64LE(BigInt(branches), 8);
    main.writeBigUInt64LE(BigInt(this.leaves.length), 16);
    main.writeBigUInt64LE(BigInt(this.overflowPages), 24);
    main.writeBigUInt64LE(BigInt(this.entries), 32);
    main.writeBigUInt64LE(root === undefined ? NO_PAGE : BigInt(root), 40);
    meta.writeBigUInt64LE(BigInt(this.nextPage - 1), 120);
    meta.writeBigUInt64LE(BigInt(transaction), 128);
    writeSync(this.handle, page, 0, PAGE_BYTES, transaction * PAGE_BYTES);
  }
}

function makeNode(key: Buffer, data: Buffer, size: number, flags: number): Buffer {
  const length = NODE_HEADER + key.length + data.length;
  const node = Buffer.alloc(length + (length % 2));
  node.writeUInt32LE(size, 0);
  node.writeUInt16LE(flags, 4);
  node.writeUInt16LE(key.length, 6);
  key.copy(node, NODE_HEADER);
  data.copy(node, NODE_HEADER + key.length);
  return node;
}

function makeBranch({ key, page }: Child, isFirst: boolean): Buffer {
  return makeNode(isFirst ? Buffer.alloc(0) : key, Buffer.alloc(0), page % 2 ** 32, Math.floor(page / 2 ** 32));
}

const fits = (nodes: readonly Buffer[]): boolean =>
  nodes.reduce((sum, node) => sum + node.length + 2, HEADER) <= PAGE_BYTES;
