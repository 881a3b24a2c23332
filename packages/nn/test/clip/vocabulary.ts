import { writeFileSync } from "node:fs";
import { byteCharacters } from "../../src/clip/vocabulary.js";

/** Merges of the tests' vocabulary, the lowest rank first. */
export const merges = [
  ["o", "p"],
  ["e", "n</w>"],
  ["op", "en</w>"],
  ["t", "h"],
  ["th", "e</w>"],
  ["a", "a"],
  ["aa", "a</w>"],
  ["d", "r"],
  ["dr", "a"],
  ["w", "e"],
  ["'", "s</w>"],
  ["Ã", "©</w>"],
] as const;

// Written here anew: bytes that print come first, in order; then those that do not.
const printable = [...range(0x21, 0x7e), ...range(0xa1, 0xac), ...range(0xae, 0xff)];
const others = range(0, 255).filter((byte) => !printable.includes(byte));

/** Id of a single byte, and of one that ends a word, as OpenAI's vocabulary numbers them. */
export const byteId = (byte: string | number, ends = false): number =>
  [...printable, ...others].indexOf(typeof byte === "number" ? byte : byte.charCodeAt(0)) + (ends ? 256 : 0);
/** Id of what the merge `index` gives. */
export const mergeId = (index: number): number => 512 + index;
export const startId = 512 + merges.length;
export const endId = startId + 1;
export const vocabularySize = endId + 1;

/** Tokens by id, as HuggingFace's files hold them. */
export function tokenTable(): Record<string, number> {
  const bytes = [...printable, ...others].map((byte) => byteCharacters[byte]!);
  const tokens = [...bytes, ...bytes.map((byte) => `${byte}</w>`), ...merges.map((pair) => pair.join(""))];
  return Object.fromEntries([...tokens, "<|startoftext|>", "<|endoftext|>"].map((token, id) => [token, id]));
}

/** Lines of OpenAI's file, and of merges.txt. */
export const mergesText = (): string => `#version: 0.2\n${merges.map((pair) => pair.join(" ")).join("\n")}\n`;

export function writeMerges(file: string): string {
  writeFileSync(file, mergesText());
  return file;
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
