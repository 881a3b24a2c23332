/** An entry of a zip archive, as the archive's directory describes it. */
export interface ZipEntry {
  name: string;
  /** 0 stored, 8 deflated. */
  compression: number;
  /** Bytes in the archive. */
  packedSize: number;
  /** Bytes when it is uncompressed. */
  size: number;
  /** Where its local header begins. */
  offset: number;
}

const END = { signature: 0x06054b50, bytes: 22 };
const LOCATOR_64 = { signature: 0x07064b50, bytes: 20 };
const END_64_SIGNATURE = 0x06064b50;
const HEADER = { signature: 0x02014b50, bytes: 46 };
const LOCAL_HEADER = { signature: 0x04034b50, bytes: 30 };
const MAX_COMMENT = 65_535;
const UTF8_FLAG = 2048;
const EXTRA_64 = 1;
/** Stands in a field whose value is in the 64-bit extra field. */
const ELSEWHERE = 0xffffffff;

/**
 * Entries of a zip archive in memory, by its directory (APPNOTE.TXT 6.3, sections 4.3.12 to 4.3.16), with 64-bit sizes
 * too. Our own, since libraries that work in memory either hide where an entry lies or uncompress it without an end.
 *
 * @throws RangeError or Error where the directory is damaged or has more than `maxEntries`
 */
export function readZipDirectory(bytes: Buffer, maxEntries: number): ZipEntry[] {
  const { count, start } = findDirectory(bytes);
  if (count > maxEntries) throw new Error(`the directory has ${count} entries, expected at most ${maxEntries}`);
  const entries: ZipEntry[] = [];
  for (let i = 0, at = start; i < count; i++) {
    expectSignature(bytes, at, HEADER.signature, "directory entry");
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) => bytes.readUInt16LE(at + field));
    const nameEnd = at + HEADER.bytes + nameBytes;
    const extraEnd = nameEnd + extraBytes;
    if (extraEnd > bytes.length) throw new RangeError(`directory entry ${i} leaves the archive`);
    const encoding = bytes.readUInt16LE(at + 8) & UTF8_FLAG ? "utf8" : "latin1";
    const [size, packedSize, offset] = wideFields(
      [24, 20, 42].map((field) => bytes.readUInt32LE(at + field)),
      bytes.subarray(nameEnd, extraEnd),
    );
    entries.push({
      name: bytes.toString(encoding, at + HEADER.bytes, nameEnd),
      compression: bytes.readUInt16LE(at + 10),
      packedSize,
      size,
      offset,
    });
    at = extraEnd + commentBytes;
  }
  return entries;
}

/**
 * Bytes of an entry as they stand in the archive.
 *
 * @throws RangeError or Error where it has no local header or leaves the archive
 */
export function packedBytes(bytes: Buffer, { packedSize, offset }: ZipEntry): Buffer {
  expectSignature(bytes, offset, LOCAL_HEADER.signature, "local header");
  const start = offset + LOCAL_HEADER.bytes + bytes.readUInt16LE(offset + 26) + bytes.readUInt16LE(offset + 28);
  if (start + packedSize > bytes.length) throw new RangeError(`bytes ${start} to ${start + packedSize} are not there`);
  return bytes.subarray(start, start + packedSize);
}

function findDirectory(bytes: Buffer): { count: number; start: number } {
  const last = bytes.length - END.bytes;
  for (let at = last; at >= Math.max(0, last - MAX_COMMENT); at--) {
    if (bytes.readUInt32LE(at) !== END.signature) continue;
    const locator = at - LOCATOR_64.bytes;
    if (locator < 0 || bytes.readUInt32LE(locator) !== LOCATOR_64.signature)
      return { count: bytes.readUInt16LE(at + 10), start: bytes.readUInt32LE(at + 16) };
    const end = wide(bytes, locator + 8);
    expectSignature(bytes, end, END_64_SIGNATURE, "64-bit end of the directory");
    return { count: wide(bytes, end + 32), start: wide(bytes, end + 48) };
  }
  throw new Error("there is no end of a directory");
}

// Fields of 32 bits, those that are full replaced in order by what the 64-bit extra field has.
function wideFields(fields: number[], extra: Buffer): number[] {
  if (!fields.includes(ELSEWHERE)) return fields;
  let at = 0;
  while (extra.readUInt16LE(at) !== EXTRA_64) at += 4 + extra.readUInt16LE(at + 2);
  at += 4;
  return fields.map((field) => {
    if (field !== ELSEWHERE) return field;
    at += 8;
    return wide(extra, at - 8);
  });
}

// Values beyond 2^53 lie outside of any archive.
const wide = (bytes: Buffer, at: number): number => Number(bytes.readBigUInt64LE(at));

function expectSignature(bytes: Buffer, at: number, signature: number, what: string): void {
  const found = bytes.readUInt32LE(at);
  if (found !== signature) throw new Error(`there is no ${what} at byte ${at}`);
}
