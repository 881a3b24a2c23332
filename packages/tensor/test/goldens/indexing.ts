import * as md from "../../src/index.js";
import type { GoldenOps } from "./table.js";

export const indexingGoldens: GoldenOps = {
  cat: (tensors, attrs) => md.cat(tensors, attrs.dim as number | undefined),
  stack: (tensors, attrs) => md.stack(tensors, attrs.dim as number | undefined),
  index_select: ([x, index], attrs) => md.indexSelect(x!, attrs.dim as number, index!),
  index_add: ([x, index, source], attrs) =>
    md.indexAdd(x!, attrs.dim as number, index!, md.mul(source!, (attrs.alpha as number | undefined) ?? 1)),
  gather: ([x, index], attrs) => md.gather(x!, attrs.dim as number, index!),
  embedding: ([index, weight]) => md.embedding(index!, weight!),
};
