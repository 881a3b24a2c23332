import * as md from "../../src/index.js";
import type { GoldenOps } from "./table.js";

export const matmulGoldens: GoldenOps = {
  matmul: ([a, b]) => md.matmul(a!, b!),
  linear: ([x, weight, bias]) => md.linear(x!, weight!, bias),
  einsum: (operands, attrs) => md.einsum(attrs.equation as string, ...operands),
};
