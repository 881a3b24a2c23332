import { native } from "@md/native";
import type { Rule } from "../autograd.js";
import { zeros } from "../ops/create.js";
import { cat } from "../ops/indexing.js";
import { permute, reshape, toDevice, type ViewAttrs } from "../ops/views.js";
import { execute } from "../primitives.js";

export const viewRules: { [P in keyof ViewAttrs]: Rule<ViewAttrs[P]> | "nondiff" } = {
  reshape: { grad: ({ shapes: [shape] }, [g]) => [reshape(g!, shape!)] },
  permute: {
    grad: ({ attrs: { axes } }, [g]) => {
      const inverse = new Array<number>(axes.length);
      axes.forEach((axis, i) => (inverse[axis] = i));
      return [permute(g!, inverse)];
    },
  },
  // The engine sums over the repeated axes.
  expand: { grad: (_, [g]) => [g!] },
  slice: {
    grad: ({ shapes: [shape], attrs: { start, step } }, [g]) => [
      execute("sliceGrad", [g!], {}, () =>
        native.sliceGrad(g!.slot, Int32Array.from(shape!), Int32Array.from(start), Int32Array.from(step)),
      ),
    ],
  },
  sliceGrad: "nondiff",
  // One copy for all parts; slices would each fill a gradient of the whole.
  split: {
    grad: ({ outputShapes, attrs: { axis } }, grads) => {
      const like = grads.find((g) => g !== null)!;
      const parts = grads.map((g, i) => g ?? zeros(outputShapes[i]!, { dtype: like.dtype, device: like.device }));
      return [cat(parts, axis)];
    },
  },
  contiguous: { grad: (_, [g]) => [g!] },
  toDevice: { grad: ({ attrs: { from } }, [g]) => [toDevice(g!, from)] },
};
