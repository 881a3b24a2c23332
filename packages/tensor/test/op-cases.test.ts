import { describe, expect, it } from "vitest";
import { rules } from "../src/gradients/index.js";
import { runOpCase } from "../src/index.js";
import { opCases } from "./op-cases/index.js";

describe("op cases", () => {
  for (const opCase of opCases) it(opCase.name, () => runOpCase(opCase));

  it("has a row for every primitive", () => {
    const covered = new Set(opCases.flatMap((opCase) => opCase.primitives));
    expect(Object.keys(rules).filter((primitive) => !covered.has(primitive))).toEqual([]);
  });
});
