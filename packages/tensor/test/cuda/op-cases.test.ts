import { describe, expect, it } from "vitest";
import { cudaInfo, DeviceError, runOpCaseOn } from "../../src/index.js";
import { opCases } from "../op-cases/index.js";
import { withoutKernel } from "./without-kernel.js";

// Every row on a CUDA device against the CPU; the emulated one checks what the kernels touch besides.
describe.skipIf(cudaInfo().devices.length === 0)("op cases on cuda", () => {
  for (const opCase of opCases) {
    if (opCase.primitives.some((primitive) => withoutKernel.has(primitive))) {
      it(`${opCase.name}: has no kernel, and says so`, () => {
        const run = (): void => runOpCaseOn("cuda", opCase);
        expect(run).toThrow(DeviceError);
        expect(run).toThrow(/^\[\w+\] has no CUDA kernel: found an operand on cuda:0, expected cpu$/);
      });
    } else {
      it(opCase.name, () => runOpCaseOn("cuda", opCase));
    }
  }
});
