import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { ClipError } from "./error.js";

/** Tokens and merges of a byte-pair encoding. */
export interface ClipVocabulary {
  /** Id of each token; a word's last token ends in `</w>`. */
  ids: ReadonlyMap<string, number>;
  /** Rank of each pair that is merged, by its halves with a space between; the lowest first. */
  ranks: ReadonlyMap<string, number>;
}

export const START = "<|startoftext|>";
export const END = "<|endoftext|>";
export const WORD_END = "</w>";

const MAX_BYTES = 16 * 2 ** 20;
const MAX_ID = 2 ** 26;
// CLIP has 49,152 tokens beside the 256 bytes that end a word: 256 bytes, and merges, less the two special ones.
const MAX_MERGES = 49_152 - 256 - 2;

/** The character that stands for each byte: printable ones for themselves, the others from U+0100 on. */
export const byteCharacters: readonly string[] = (() => {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    return String.fromCodePoint(printable ? byte : next++);
  });
})();

// Printable bytes come first, as in the original's table.
const bytesInOrder = [...byteCharacters].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);

/**
 * Reads a vocabulary in one of its published forms, told apart by content:
 * - OpenAI's `bpe_simple_vocab_16e6.txt.gz`, or the same unpacked: merges, a line each after a line of title;
 * - HuggingFace's `tokenizer.json`;
 * - HuggingFace's `vocab.json`, with `merges.txt` beside it.
 *
 * @throws ClipError naming the file, and the line or token at fault
 */
export function readClipVocabulary(file: string): ClipVocabulary {
  const text = readText(file);
  if (!text.startsWith("{")) return fromMerges(mergeLines(text, file), file);
  const json = parseJson(text, file);
  if (isRecord(json["model"])) return fromTokenizerJson(json["model"], file);
  const mergesFile = join(dirname(file), "merges.txt");
  if (!existsSync(mergesFile)) throw new ClipError(file, `has tokens alone, expected their ${mergesFile} beside it`);
  return assemble(tokenIds(json, file), mergeLines(readText(mergesFile), mergesFile), file);
}

/** The vocabulary that OpenAI's list of merges means: bytes, bytes that end a word, merges, start, end. */
function fromMerges(merges: readonly Merge[], file: string): ClipVocabulary {
  const tokens = [
    ...bytesInOrder,
    ...bytesInOrder.map((byte) => byte + WORD_END),
    ...merges.map(([first, second]) => first + second),
    START,
    END,
  ];
  return assemble(new Map(tokens.map((token, id) => [token, id])), merges, file);
}

function fromTokenizerJson(model: Record<string, unknown>, file: string): ClipVocabulary {
  const { type, vocab, merges, end_of_word_suffix: suffix } = model;
  if (type !== "BPE" || suffix !== WORD_END)
    throw new ClipError(file, `is of type ${brief(type)} with end_of_word_suffix ${brief(suffix)}, expected BPE, </w>`);
  if (!isRecord(vocab)) throw new ClipError(file, "has no object model.vocab");
  if (!Array.isArray(merges)) throw new ClipError(file, "has no list model.merges");
  // Pairs of strings since version 0.20 of HuggingFace's library, lines before.
  const pairs = merges.map((merge: unknown, i) =>
    asMerge(typeof merge === "string" ? merge.split(" ") : merge, `model.merges[${i}]`, file),
  );
  return assemble(tokenIds(vocab, file), pairs, file);
}

type Merge = readonly [first: string, second: string];

function mergeLines(text: string, file: string): Merge[] {
  const lines = text.split("\n").slice(1, MAX_MERGES + 1);
  return lines.flatMap((line, i) =>
    line.trim() === "" ? [] : [asMerge(line.trim().split(/\s+/), `line ${i + 2}`, file)],
  );
}

function asMerge(value: unknown, field: string, file: string): Merge {
  if (
    Array.isArray(value) &&
    value.length === 2 &&
    value.every((half) => typeof half === "string" && /^[^ ]+$/.test(half))
  )
    return value as [string, string];
  throw new ClipError(file, `${field} is ${brief(value)}, expected a pair of tokens`);
}

function tokenIds(json: Record<string, unknown>, file: string): Map<string, number> {
  const ids = new Map<string, number>();
  for (const [token, id] of Object.entries(json)) {
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) >= MAX_ID)
      throw new ClipError(file, `token ${JSON.stringify(token)} has the id ${brief(id)}, expected an integer from 0`);
    ids.set(token, id as number);
  }
  return ids;
}

// Every token that encoding may give must have an id.
function assemble(ids: ReadonlyMap<string, number>, merges: readonly Merge[], file: string): ClipVocabulary {
  const needed = [
    ...bytesInOrder,
    ...bytesInOrder.map((byte) => byte + WORD_END),
    ...merges.map(([first, second]) => first + second),
  ];
  const missing = [...needed, START, END].find((token) => !ids.has(token));
  if (missing !== undefined) throw new ClipError(file, `has no token ${JSON.stringify(missing)}`);
  return { ids, ranks: new Map(merges.map((pair, rank) => [pair.join(" "), rank])) };
}

function readText(file: string): string {
  try {
    const stat = statSync(file);
    if (!stat.isFile()) throw new ClipError(file, "is no regular file");
    if (stat.size > MAX_BYTES) throw new ClipError(file, `has ${stat.size} bytes, expected at most ${MAX_BYTES}`);
    const bytes = readFileSync(file);
    const packed = bytes[0] === 0x1f && bytes[1] === 0x8b;
    return (packed ? gunzipSync(bytes, { maxOutputLength: MAX_BYTES }) : bytes).toString("utf8");
  } catch (cause) {
    if (cause instanceof ClipError) throw cause;
    throw new ClipError(file, `cannot be read: ${(cause as Error).message}`, { cause });
  }
}

function parseJson(text: string, file: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (cause) {
    throw new ClipError(file, `is no JSON: ${(cause as Error).message}`, { cause });
  }
}

// A value may be nested too deep to be written.
const brief = (value: unknown): string =>
  typeof value === "object"
    ? Array.isArray(value)
      ? `a list of ${value.length}`
      : "an object"
    : String(value).slice(0, 100);

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
