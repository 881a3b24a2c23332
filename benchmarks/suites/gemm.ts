import { linear, matmul } from "@md/tensor";
import { type BenchCase, random, stateless, type Suite } from "../suite.js";

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

/** A linear layer's three products: forward, and the gradients of its input and of its weight. */
export const gemmSuite: Suite = {
  name: "gemm",
  cases: shapes.flatMap(([m, k, n]): BenchCase[] => {
    const shape = `${m}×${k}×${n}`;
    const common = {
      flops: 2 * m * k * n,
      tolerance: 1e-5,
      countsFor: ["gemm", "scaling", "gemm-scaling"],
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
  }),
};
