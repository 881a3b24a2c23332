import * as md from "../../src/index.js";
import type { GoldenAttrs, GoldenOps } from "./table.js";

const options = (attrs: GoldenAttrs): md.LossOptions => ({
  reduction: attrs.reduction as md.LossReduction | undefined,
});

// PyTorch has the classes on axis 1, ours lie on the last.
function classesLast(x: md.Tensor): md.Tensor {
  if (x.rank <= 2) return x;
  const axes = x.shape.map((_, axis) => axis);
  return md.permute(x, [0, ...axes.slice(2), 1]);
}

export const lossGoldens: GoldenOps = {
  cross_entropy: ([x, target], attrs) =>
    md.crossEntropy(classesLast(x!), target!, {
      ...options(attrs),
      labelSmoothing: attrs.label_smoothing as number | undefined,
    }),
  binary_cross_entropy_with_logits: ([x, target], attrs) =>
    md.binaryCrossEntropyWithLogits(x!, target!, options(attrs)),
  mse_loss: ([x, target], attrs) => md.mseLoss(x!, target!, options(attrs)),
  l1_loss: ([x, target], attrs) => md.l1Loss(x!, target!, options(attrs)),
  smooth_l1_loss: ([x, target], attrs) =>
    md.smoothL1Loss(x!, target!, { ...options(attrs), beta: attrs.beta as number | undefined }),
};
