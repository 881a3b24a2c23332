import * as md from "../../src/index.js";
import type { GoldenOps } from "./table.js";

export const viewGoldens: GoldenOps = {
  permute: ([x], attrs) => md.permute(x!, attrs.dims as number[]),
  reshape: ([x], attrs) => md.reshape(x!, attrs.shape as number[]),
  slice: ([x], attrs) => md.slice(x!, attrs.slices as md.SliceRange[]),
  expand: ([x], attrs) => md.expand(x!, attrs.shape as number[]),
};
