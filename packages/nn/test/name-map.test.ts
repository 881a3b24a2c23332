import { ValueError } from "@md/tensor";
import { describe, expect, test } from "vitest";
import { getNameMap, NameMap, NameMapError, registerNameMap } from "../src/index.js";

const released = new NameMap("released", [
  { ours: "blocks.*.attention.**", theirs: "layers.*.attn.**" },
  { ours: "blocks.*.norm.weight", theirs: "layers.*.ln.gamma" },
  { ours: "head.**", theirs: "module.head.**" },
  { ours: "scale", theirs: "a+b" },
]);

test.each([
  ["blocks.0.attention.query.weight", "layers.0.attn.query.weight"],
  ["blocks.12.norm.weight", "layers.12.ln.gamma"],
  ["head.bias", "module.head.bias"],
  ["scale", "a+b"],
])("%s is %s, both ways", (ours, theirs) => {
  expect(released.toTheirs(ours)).toBe(theirs);
  expect(released.toOurs(theirs)).toBe(ours);
});

test.each(["blocks.attention.weight", "blocks.0.1.attention.weight", "blocks.0.attention", "head", "aab", "scale.x"])(
  "no rule fits %s",
  (name) => {
    expect(released.toTheirs(name)).toBeNull();
    expect(released.toOurs(name)).toBeNull();
  },
);

test("renames what it knows, and back, and tells what it does not", () => {
  const theirs = new Map(["layers.0.attn.w", "layers.3.ln.gamma", "a+b", "optimizer.lr"].map((name, i) => [name, i]));
  const { values, renamed, dropped } = released.rename(theirs, "ours");
  expect([...values]).toEqual([
    ["blocks.0.attention.w", 0],
    ["blocks.3.norm.weight", 1],
    ["scale", 2],
  ]);
  expect(renamed[1]).toEqual(["layers.3.ln.gamma", "blocks.3.norm.weight"]);
  expect(dropped).toEqual(["optimizer.lr"]);
  theirs.delete("optimizer.lr");
  expect(released.rename(values, "theirs").values).toEqual(theirs);
});

describe("refuses", () => {
  test.each([[{ ours: "a.*", theirs: "b" }], [{ ours: "a.*", theirs: "b.**" }], [{ ours: "*.**", theirs: "**.*" }]])(
    "the rule %j",
    (rule) => {
      expect(() => new NameMap("bad", [rule])).toThrow(ValueError);
    },
  );

  test("names that fall together, or do not come back", () => {
    const twoRules = new NameMap("two", [
      { ours: "a.*", theirs: "x.*" },
      { ours: "b.*", theirs: "x.*" },
    ]);
    const one = (...names: string[]) => new Map(names.map((name) => [name, 0]));
    expect(() => twoRules.rename(one("b.1"), "theirs")).toThrow(
      /\[two\] "b\.1" becomes "x\.1", which goes back to "a\.1"/,
    );
    expect(() => twoRules.rename(one("a.1", "b.1"), "theirs")).toThrow(NameMapError);
    expect(() => twoRules.rename(one("a.1", "b.1"), "theirs")).toThrow(/two names become "x\.1"/);
  });

  test("a second map of one name, and a name without a map", () => {
    expect(() => registerNameMap(new NameMap("identity", []))).toThrow(/registered already/);
    expect(() => getNameMap("none")).toThrow(/unknown map "none", expected one of identity/);
  });
});

test("identity keeps every name", () => {
  expect(getNameMap("identity").toOurs("a.b.0")).toBe("a.b.0");
  expect(getNameMap("identity").toTheirs("weight")).toBe("weight");
});
