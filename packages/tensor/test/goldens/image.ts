import * as md from "../../src/index.js";
import type { GoldenAttrs, GoldenOps } from "./table.js";

const pooling = (attrs: GoldenAttrs): md.Pool2dOptions => ({
  stride: attrs.stride as md.Pair | undefined,
  padding: attrs.padding as md.Pair | undefined,
});

export const imageGoldens: GoldenOps = {
  conv2d: ([x, weight, bias], attrs) =>
    md.conv2d(x!, weight!, {
      bias,
      stride: attrs.stride as md.Pair | undefined,
      padding: attrs.padding as md.Pair | undefined,
      dilation: attrs.dilation as md.Pair | undefined,
      groups: attrs.groups as number | undefined,
    }),
  max_pool2d: ([x], attrs) => md.maxPool2d(x!, attrs.kernel as md.Pair, pooling(attrs)),
  avg_pool2d: ([x], attrs) => md.avgPool2d(x!, attrs.kernel as md.Pair, pooling(attrs)),
  interpolate_bilinear: ([x], attrs) =>
    md.interpolate(x!, attrs.size as md.Pair, { alignCorners: attrs.align_corners as boolean | undefined }),
};
