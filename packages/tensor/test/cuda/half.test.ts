import { describe, expect, it } from "vitest";
import * as md from "../../src/index.js";

const randn = (shape: number[], seed: number): md.Tensor => md.randn(shape, { generator: new md.Generator(seed) });

describe.skipIf(md.cudaInfo().devices.length === 0).each(["f16", "bf16"] as const)("%s on cuda", (dtype) => {
  it("converts to the same bits as on the CPU", () => {
    const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const stored = md.tensor(bits, { dtype });
    const numbers = (x: md.Tensor): number[] => x.to("cpu").toFlatArray();
    expect(numbers(stored.to("cuda").to("f32"))).toEqual(numbers(stored.to("f32")));
    const odd = md.tensor(
      Float32Array.from({ length: 40000 }, (_, i) => (i - 20000) * 1.0009765 * 2 ** ((i % 48) - 30)),
    );
    expect(odd.to("cuda").to(dtype).to("cpu").data()).toEqual(odd.to(dtype).data());
    expect(numbers(md.tensor([1.5, -2], { dtype, device: "cuda" }).to("i32"))).toEqual([1, -2]);
    expect(numbers(md.full([3], 2.5, { dtype, device: "cuda" }))).toEqual([2.5, 2.5, 2.5]);
  });

  it("moves in views and joins without a bit changed", () => {
    const bits = Uint16Array.from({ length: 60 }, (_, i) => 0x7c01 + 97 * i);
    const here = md.tensor(bits, { shape: [3, 4, 5], dtype });
    const there = here.to("cuda");
    const moved = (x: md.Tensor): md.Tensor =>
      md.cat(
        [
          x
            .permute([1, 2, 0])
            .slice([[1, 4, 2]])
            .contiguous(),
        ],
        0,
      );
    expect(moved(there).to("cpu").data()).toEqual(moved(here).data());
    const order = md.tensor([2, 0], { dtype: "i64" });
    expect(md.indexSelect(there, 0, order.to("cuda")).to("cpu").data()).toEqual(md.indexSelect(here, 0, order).data());
  });

  it("refuses a product with f32, and the optimiser", () => {
    const x = randn([2, 3], 1).to("cuda").to(dtype);
    expect(() => md.linear(x, randn([4, 3], 2).to("cuda"))).toThrow(md.DTypeError);
    expect(() => md.emaUpdate([x], [x], 0.5)).toThrow(md.DTypeError);
  });

  it("sums in f32", () => {
    const wide = md.ones([1, 3000], { device: "cuda", dtype });
    expect(md.matmul(wide, wide.transpose()).to("cpu").item()).toBe(dtype === "f16" ? 3000 : 3008);
  });

  it("computes under autocast what the CPU computes", () => {
    const run = (device: md.DeviceName): number[][] => {
      const weight = randn([8, 6], 1).to(device).detach();
      weight.requiresGrad = true;
      const x = randn([2, 5, 6], 2).to(device);
      const loss = md.autocast(dtype, () => {
        const q = md.linear(x, weight).reshape([2, 1, 5, 8]);
        return md.mseLoss(md.maskedAttention(q, q, q), randn([2, 1, 5, 8], 3).to(device));
      });
      loss.backward();
      return [loss, weight.grad!].map((y) => y.to("cpu").toFlatArray());
    };
    const [here, there] = [run("cpu"), run("cuda")];
    const epsilon = dtype === "f16" ? 2 ** -10 : 2 ** -7;
    there.forEach((found, i) => md.compareNumbers(`result ${i}`, found, here[i]!, 4 * epsilon));
  });

  it("reads parameters that autocast has cast in a graph without gradients, and casts those of one with them anew", () => {
    md.scope(() => {
      const weight = randn([8, 6], 1).to("cuda").detach();
      weight.requiresGrad = true;
      const x = randn([5, 6], 2).to("cuda");
      const product = (): md.Tensor => md.linear(x, weight);
      const inference = (): md.Tensor => product().detach();
      const training = (): md.Tensor => {
        const leaf = weight.grad;
        weight.grad = null;
        md.sum(product()).backward();
        const grad = weight.grad!;
        weight.grad = leaf;
        return product().detach().add(md.mean(grad));
      };
      md.autocast(dtype, () => {
        const [first, step] = [md.noGrad(inference).data(), training().data()];
        const capture = (body: () => md.Tensor): { graph: md.CudaGraph<md.Tensor>; casts: number } => {
          const { result: graph, profile } = md.profile(() => md.CudaGraph.capture("cuda", body));
          return { graph, casts: profile.rows.find(({ op }) => op === "cast")?.calls ?? 0 };
        };
        const [reads, recasts] = [md.noGrad(() => capture(inference)), capture(training)];
        // Without gradients x alone is cast.
        expect(reads.casts).toBe(1);
        expect(recasts.casts).toBeGreaterThan(1);
        const replayed = ({ graph }: typeof reads): unknown => {
          graph.replay();
          return graph.result.data();
        };
        expect([replayed(reads), replayed(recasts)]).toEqual([first, step]);
        md.assign(weight, weight.detach().mul(2));
        expect(replayed(recasts)).not.toEqual(step);
        expect(replayed(recasts)).toEqual(training().data());
      });
    });
  });
});
