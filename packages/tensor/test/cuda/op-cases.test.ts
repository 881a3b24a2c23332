import { describe, it } from "vitest";
import { cudaInfo, runOpCaseOn } from "../../src/index.js";
import { opCases } from "../op-cases/index.js";

// Every row on a CUDA device against the CPU; the emulated one checks what the kernels touch besides.
describe.skipIf(cudaInfo().devices.length === 0)("op cases on cuda", () => {
  for (const opCase of opCases) it(opCase.name, () => runOpCaseOn("cuda", opCase));
});
