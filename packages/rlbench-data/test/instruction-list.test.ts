import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { DataError, readInstructionTexts } from "../src/index.js";
import { goldensFolder, missing } from "./support/paths.js";
import { temporaryFolder } from "./support/temporary-folder.js";

const at = (name: string, content: unknown): string => {
  const file = join(temporaryFolder(), name);
  writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
  return file;
};

test("instructions by task variation", () => {
  const file = at("taskvars.json", { "open_jar+2": ["open it", "twist it"], "close_jar_peract+10": ["open it"] });
  expect(readInstructionTexts(file)).toEqual(["open it", "twist it"]);
});

test("plain lists", () => {
  expect(readInstructionTexts(at("list.json", ["b", "a", "b"]))).toEqual(["b", "a"]);
  expect(readInstructionTexts(at("list.txt", "open the drawer\r\n\n close it \nopen the drawer"))).toEqual([
    "open the drawer",
    " close it ",
  ]);
});

test.each([
  ["no-json.json", "{", /is no JSON/],
  ["number.json", 3, /no JSON object/],
  ["key.json", { drawer: ["a"] }, /"drawer" is no task\+variation/],
  ["variation.json", { "drawer+x": ["a"] }, /"drawer\+x" is no task\+variation/],
  ["texts.json", { "drawer+0": "open" }, /"drawer\+0" is no task\+variation with a list/],
  ["none.json", { "drawer+0": [] }, /"drawer\+0" is no task\+variation with a list/],
  ["blank.json", { "drawer+0": ["a", " "] }, /"drawer\+0" is no task\+variation with a list/],
  ["null.json", [null], /has null at 0/],
  ["empty.json", {}, /has no instructions/],
  ["empty.txt", "\n", /no instructions/],
])("%s is refused", (name, content, problem) => {
  const file = at(name, content);
  expect(() => readInstructionTexts(file)).toThrow(DataError);
  expect(() => readInstructionTexts(file)).toThrow(problem);
  expect(() => readInstructionTexts(file)).toThrow(file);
});

test("the golden list", (ctx) => {
  const file = join(goldensFolder, "formats", "taskvars_instructions.json");
  const reason = missing(file);
  if (reason) ctx.skip(reason);
  expect(readInstructionTexts(file).length).toBeGreaterThan(0);
});
