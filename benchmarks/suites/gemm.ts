import { linear, matmul, type Tensor } from "@md/tensor";
import { type BenchCase, random, randomInputs, stateless, type Suite, withGradients } from "../suite.js";

// rows × inputs × outputs of linear layers of the policies.
const shapes = [
  [4000, 36, 108],
  [4000, 72, 288],
  [4000, 288, 72],
  [1000, 144, 576],
  [250, 192, 768],
  [64, 384, 1536],
  [6400, 72, 288],
] as const;

// Those that end a branch of a block: an attention's projection, and the second layer of a feed-forward part.
const branchEnds = [
  [4000, 72, 72],
  [4000, 288, 72],
  [1000, 576, 144],
] as const;

/** A linear layer whose result is added to a residual, which PyTorch adds in a pass of its own. */
function residualCases([m, k, n]: readonly [number, number, number]): BenchCase[] {
  const operands = [[m, k], [n, k], [n], [m, n]];
  const fused = (x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor): Tensor =>
    linear(x, weight, bias, { residual });
  const composed = (x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor): Tensor =>
    residual.add(linear(x, weight, bias));
  const shape = `${m}×${k}×${n}`;
  return [
    {
      name: `y = r + x Wᵀ + b ${shape}`,
      flops: 2 * m * k * n,
      tolerance: 1e-5,
      inputs: randomInputs(operands),
      bind: stateless(fused),
      baseline: { name: "linear, then add", bind: stateless(composed), sameResult: true },
      peer: { op: "linearResidual" },
    },
    {
      name: `y = r + x Wᵀ + b, forward and backward, ${shape}`,
      flops: 6 * m * k * n,
      tolerance: 1e-5,
      inputs: randomInputs([...operands, [m, n]]),
      bind: withGradients(fused, operands.length),
      baseline: { name: "linear, then add", bind: withGradients(composed, operands.length), sameResult: true },
      peer: { op: "linearResidualGrad" },
    },
  ];
}

const products = shapes.flatMap(([m, k, n]): BenchCase[] => {
  const shape = `${m}×${k}×${n}`;
  const common = {
    flops: 2 * m * k * n,
    tolerance: 1e-5,
    countsFor: ["gemm", "scaling", "gemm-scaling"],
    scalesBeside: "onednn",
  } as const;
  const peer = (op: string): BenchCase["peer"] => ({ op, params: { m, k, n } });
  return [
    {
      ...common,
      name: `y = x Wᵀ ${shape}`,
      inputs: () => [random([m, k], 1), random([n, k], 2)],
      bind: stateless((x, weight) => linear(x, weight)),
      peer: peer("linear"),
    },
    {
      ...common,
      name: `dx = dy W ${shape}`,
      inputs: () => [random([m, n], 1), random([n, k], 2)],
      bind: stateless(matmul),
      peer: peer("linearGradX"),
    },
    {
      ...common,
      name: `dW = dyᵀ x ${shape}`,
      inputs: () => [random([m, n], 1), random([m, k], 2)],
      bind: stateless((grad, x) => matmul(grad.transpose(), x)),
      peer: peer("linearGradW"),
    },
  ];
});

/** A linear layer's three products: forward, and the gradients of its input and of its weight; and those with a residual. */
export const gemmSuite: Suite = { name: "gemm", cases: [...products, ...branchEnds.flatMap(residualCases)] };
