import * as md from "../../src/index.js";
import type { GoldenAttrs, GoldenOps } from "./table.js";

const sortOptions = (attrs: GoldenAttrs): md.SortOptions => ({
  dim: attrs.dim as number | undefined,
  descending: attrs.descending as boolean | undefined,
});

export const sortGoldens: GoldenOps = {
  sort: ([x], attrs) => {
    const { values, indices } = md.sort(x!, sortOptions(attrs));
    return [values, indices];
  },
  argsort: ([x], attrs) => md.argsort(x!, sortOptions(attrs)),
  topk: ([x], attrs) => {
    const options = { dim: attrs.dim as number | undefined, largest: attrs.largest as boolean | undefined };
    const { values, indices } = md.topk(x!, attrs.k as number, options);
    return [values, indices];
  },
  cumsum: ([x], attrs) => md.cumsum(x!, attrs.dim as number),
};
