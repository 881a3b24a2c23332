import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { mulberry32 } from "@md/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { cleanText, ClipError, ClipTokenizer, readClipVocabulary } from "../../src/index.js";
import { byteId, endId, mergeId, mergesText, startId, tokenTable, vocabularySize, writeMerges } from "./vocabulary.js";

const folder = mkdtempSync(join(tmpdir(), "clip-tokenizer-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};
const tokenizer = ClipTokenizer.fromFile(writeMerges(join(folder, "merges-alone.txt")));

describe("ClipTokenizer", () => {
  it("merges the pair of the lowest rank first, word by word", () => {
    expect(tokenizer.encode("open")).toEqual([mergeId(2)]);
    // o p e n s: op first, then none of e n, n s</w> has a rank; n does not end the word.
    expect(tokenizer.encode("opens")).toEqual([mergeId(0), byteId("e"), byteId("n"), byteId("s", true)]);
    expect(tokenizer.encode("OPEN  the\n\tthe ")).toEqual([mergeId(2), mergeId(4), mergeId(4)]);
    // draw: d r, then dr a; w ends the word, so "w e" does not fit.
    expect(tokenizer.encode("draw")).toEqual([mergeId(8), byteId("w", true)]);
    // aaaa: a a joins from the left, and a</w> is another symbol than a: aa a a</w> -> aa, a, a</w>.
    expect(tokenizer.encode("aaaa")).toEqual([mergeId(5), byteId("a"), byteId("a", true)]);
    expect(tokenizer.encode("aaa")).toEqual([mergeId(6)]);
    expect(tokenizer.encode("x")).toEqual([byteId("x", true)]);
  });

  it("splits digits one by one, endings after an apostrophe, and signs from letters", () => {
    expect(tokenizer.encode("12")).toEqual([byteId("1", true), byteId("2", true)]);
    expect(tokenizer.encode("the's")).toEqual([mergeId(4), mergeId(10)]);
    expect(tokenizer.encode("x?!y")).toEqual([byteId("x", true), byteId("?"), byteId("!", true), byteId("y", true)]);
    expect(tokenizer.encode("")).toEqual([]);
  });

  it("encodes other scripts by their bytes, and keeps special tokens whole", () => {
    expect(tokenizer.encode("é")).toEqual([mergeId(11)]); // UTF-8 c3 a9
    expect(tokenizer.encode("ł")).toEqual([byteId(0xc5), byteId(0x82, true)]);
    expect(tokenizer.encode("x<|endoftext|>")).toEqual([byteId("x", true), endId]);
    expect(tokenizer.decode(tokenizer.encode("żółw 猫 🦆"))).toBe("żółw 猫 🦆 ");
  });

  it("puts start and end around, and pads", () => {
    expect([tokenizer.startId, tokenizer.endId, tokenizer.vocabularySize]).toEqual([startId, endId, vocabularySize]);
    const { ids, lengths } = tokenizer.tokenize(["open the", "x"], { contextLength: 5 });
    expect(lengths).toEqual([4, 3]);
    expect([...ids]).toEqual([startId, mergeId(2), mergeId(4), endId, 0, startId, byteId("x", true), endId, 0, 0]);
    const padded = tokenizer.tokenize(["x"], { padding: "end" });
    expect([...padded.ids]).toEqual([startId, byteId("x", true), ...new Array<number>(75).fill(endId)]);
  });

  it("refuses a text that is too long, or cuts it where it is told to", () => {
    const long = "open ".repeat(76);
    expect(tokenizer.tokenize([long.slice(5)]).lengths).toEqual([77]);
    expect(() => tokenizer.tokenize(["x", long])).toThrow(ClipError);
    expect(() => tokenizer.tokenize(["x", long])).toThrow(/"open open .*has 78 tokens.*at most 77/);
    const { ids, lengths } = tokenizer.tokenize([long], { truncate: true });
    expect(lengths).toEqual([77]);
    expect([...ids]).toEqual([startId, ...new Array<number>(75).fill(mergeId(2)), endId]);
    expect(() => tokenizer.encode("x".repeat(4097))).toThrow(/4097 characters/);
    expect(() => tokenizer.decode([vocabularySize])).toThrow(/is no token/);
  });

  it("decodes to the cleaned text", () => {
    const draw = mulberry32(5);
    const pick = <T>(from: readonly T[]): T => from[Math.floor(draw() * from.length)]!;
    const letters = [..."opentharawdszOPé猫ß".normalize("NFC")];
    const signs = [..."0123456789.,!?'-()&;#\"<>|"];
    const gaps = [" ", "  ", "\n", "\t ", "\u00a0"];
    for (let round = 0; round < 500; round++) {
      const words = Array.from({ length: 1 + Math.floor(draw() * 6) }, () =>
        Array.from({ length: 1 + Math.floor(draw() * 8) }, () => pick(letters)).join(""),
      );
      const text = words.map((word) => word + pick(gaps)).join("");
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(`${cleanText(text)} `);
      // With signs, decoding puts a space behind each of the pieces.
      const mixed = Array.from({ length: 12 }, () => pick([...letters, ...signs, ...gaps])).join("");
      const solid = (value: string): string => value.replaceAll(" ", "");
      expect(solid(tokenizer.decode(tokenizer.encode(mixed)))).toBe(solid(cleanText(mixed)));
    }
  });
});

describe("cleanText", () => {
  it.each([
    ["  Open\u00a0 the\r\n DRAWER ", "open the drawer"],
    ["salt &amp;amp; pepper &lt;3", "salt & pepper <3"],
    ["\u201cthe robot\u2019s arm\u201d", `"the robot's arm"`],
    ["\ufb01nd \uff11\uff12", "find 12"],
    ["cafe\u0301\u0007", "caf\u00e9"],
    ["", ""],
  ])("%j becomes %j", (text, expected) => {
    expect(cleanText(text)).toBe(expected);
  });
});

describe("readClipVocabulary", () => {
  const sample = "Open the drawer's 3rd é, <|endoftext|> ok";
  const expected = tokenizer.encode(sample);
  const pairs = mergesText().trim().split("\n").slice(1);

  it("reads each published form alike", () => {
    const model = { type: "BPE", end_of_word_suffix: "</w>", vocab: tokenTable(), merges: pairs };
    const split = { ...model, merges: pairs.map((line) => line.split(" ")) };
    mkdirSync(join(folder, "hf"));
    at("hf/merges.txt", mergesText());
    for (const file of [
      at("bpe.txt.gz", gzipSync(mergesText())),
      at("tokenizer.json", JSON.stringify({ version: "1.0", model })),
      at("tokenizer-pairs.json", JSON.stringify({ model: split })),
      at("hf/vocab.json", JSON.stringify(tokenTable())),
    ])
      expect(ClipTokenizer.fromFile(file).encode(sample), file).toEqual(expected);
  });

  it("takes as many merges as CLIP has of a longer list", () => {
    const many = Array.from({ length: 49_000 }, (_, i) => `${"o".repeat(1 + (i % 7))} p${i}`);
    const { ids, ranks } = readClipVocabulary(at("long.txt", `title\n${many.join("\n")}\n`));
    expect([ranks.size, ids.get("<|startoftext|>"), ids.get("<|endoftext|>")]).toEqual([48_894, 49_406, 49_407]);
  });

  it("refuses what is none, naming file and place", () => {
    const incomplete = Object.fromEntries(Object.entries(tokenTable()).filter(([token]) => token !== "a</w>"));
    for (const [name, content, problem] of [
      ["three.txt", "title\no p\na b c\n", /three\.txt\] line 3 .*expected a pair/],
      ["one.txt", "title\nop\n", /line 2 is a list of 1, expected a pair/],
      ["cut.json", '{"model": {', /is no JSON/],
      ["alone.json", JSON.stringify(tokenTable()), /merges\.txt beside it/],
      ["unigram.json", JSON.stringify({ model: { type: "Unigram" } }), /is of type Unigram/],
      [
        "lacks.json",
        JSON.stringify({ model: { type: "BPE", end_of_word_suffix: "</w>", vocab: incomplete, merges: [] } }),
        /no token "a<\/w>"/,
      ],
      [
        "ids.json",
        JSON.stringify({ model: { type: "BPE", end_of_word_suffix: "</w>", vocab: { a: 0.5 }, merges: [] } }),
        /"a" has the id 0\.5/,
      ],
      ["cut.gz", gzipSync(mergesText()).subarray(0, 40), /cannot be read/],
      ["bomb.gz", gzipSync(Buffer.alloc(65 * 2 ** 20)), /cannot be read/],
    ] as const) {
      const file = at(name, content);
      expect(() => readClipVocabulary(file), name).toThrow(ClipError);
      expect(() => readClipVocabulary(file), name).toThrow(problem);
    }
    expect(() => readClipVocabulary(join(folder, "absent"))).toThrow(/absent\] cannot be read/);
    expect(() => readClipVocabulary(folder)).toThrow(/no regular file/);
  });
});
