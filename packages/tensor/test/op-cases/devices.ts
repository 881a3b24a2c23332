import * as md from "../../src/index.js";
import type { OpCase } from "../../src/index.js";

const other: md.DeviceName = md.cudaInfo().devices.length > 0 ? "cuda" : "cpu";

export const deviceCases: OpCase[] = [
  {
    primitives: ["toDevice"],
    name: "to another device and back",
    inputs: [{ shape: [3, 5, 2] }],
    run: (x) => x.to(x.device === "cpu" ? other : "cpu").to(x.device),
    reference: (x) => x,
  },
];
