import { describe, expect, it } from "vitest";
import * as md from "../src/index.js";
import { halfNumber } from "./support/half-number.js";

const halves = ["f16", "bf16"] as const;
const allBits = Uint16Array.from({ length: 65536 }, (_, i) => i);
const randn = (shape: number[], dtype: md.DType, seed = 1): md.Tensor =>
  md.randn(shape, { generator: new md.Generator(seed), dtype });

describe.each(halves)("%s", (dtype) => {
  it("holds the numbers of the format, and gives each its bits back", () => {
    const wide = md.halfToFloat32(allBits, dtype);
    expect([...wide]).toEqual([...allBits].map((bits) => halfNumber(bits, dtype)));
    const back = md.float32ToHalf(wide, dtype);
    allBits.forEach((bits, i) => {
      if (Number.isNaN(wide[i])) expect(halfNumber(back[i]!, dtype)).toBeNaN();
      else expect(back[i]).toBe(bits);
    });
  });

  it("rounds to the nearest, halves to even", () => {
    const finite = [...allBits].filter((bits) => bits < 0x8000 && Number.isFinite(halfNumber(bits, dtype)));
    const between = finite.slice(1).map((bits) => (halfNumber(bits - 1, dtype) + halfNumber(bits, dtype)) / 2);
    const ties = md.float32ToHalf(Float32Array.from(between), dtype);
    finite.slice(1).forEach((bits, i) => expect(ties[i]).toBe(bits % 2 === 0 ? bits : bits - 1));
    const above = md.float32ToHalf(
      Float32Array.from(between, (x, i) => x + (halfNumber(finite[i + 1]!, dtype) - x) / 64),
      dtype,
    );
    finite.slice(1).forEach((bits, i) => expect(above[i]).toBe(bits));
  });

  it("becomes infinity where it is too large, and stays NaN", () => {
    const most = dtype === "f16" ? 65504 : 255 * 2 ** 120;
    const tie = dtype === "f16" ? 65520 : 511 * 2 ** 119;
    const values = Float32Array.of(most, tie, -tie, 3.4e38, Infinity, -Infinity, NaN);
    const expected = [most, Infinity, -Infinity, Infinity, Infinity, -Infinity, NaN];
    expect(md.tensor(values).to(dtype).toFlatArray()).toEqual(expected);
  });

  it("converts from and to the other dtypes", () => {
    const x = md.tensor([0, 1.5, -2.75, 100], { dtype });
    expect(x.to("f64").toFlatArray()).toEqual([0, 1.5, -2.75, 100]);
    expect(x.to("i32").toFlatArray()).toEqual([0, 1, -2, 100]);
    expect(x.to("bool").toFlatArray()).toEqual([0, 1, 1, 1]);
    for (const from of ["f64", "i32", "i64", "u8", "bool"] as const) {
      expect(md.tensor([0, 1], { dtype: from }).to(dtype).toFlatArray()).toEqual([0, 1]);
    }
    expect(() => md.tensor([NaN], { dtype }).to("i32")).toThrow(md.ValueError);
    const other = dtype === "f16" ? "bf16" : "f16";
    expect(x.to(other).to(dtype).data()).toEqual(x.data());
  });

  it("is made from bits and numbers, filled, drawn and read", () => {
    expect(md.tensor(Uint16Array.of(0x3c00, 0), { dtype }).data()).toEqual(Uint16Array.of(0x3c00, 0));
    expect(() => md.tensor(Uint16Array.of(1))).toThrow(/Uint16Array.*expected f16 or bf16/);
    expect(md.full([2, 2], 0.5, { dtype }).toFlatArray()).toEqual([0.5, 0.5, 0.5, 0.5]);
    expect(md.zerosLike(md.ones([2], { dtype })).dtype).toBe(dtype);
    expect(randn([64], dtype).data()).toEqual(randn([64], "f32").to(dtype).data());
    expect(md.oneHot(md.tensor([1], { dtype: "i64" }), 2, { dtype }).toFlatArray()).toEqual([0, 1]);
    expect(md.fromNdarray(md.toNdarray(md.tensor([[1], [2]], { dtype })), { dtype }).toFlatArray()).toEqual([1, 2]);
    expect(md.full([], 3, { dtype }).item()).toBe(3);
  });

  it("takes two bytes an element", () => {
    const before = md.memory().liveBytes;
    const x = md.zeros([1 << 16], { dtype });
    expect(md.memory().liveBytes - before).toBe(2 << 16);
    x.dispose();
  });

  it("moves in views, joins and look-ups without a bit changed", () => {
    const bits = Uint16Array.from({ length: 24 }, (_, i) => 0x7c01 + 97 * i);
    const x = md.tensor(bits, { shape: [2, 3, 4], dtype });
    const at = (...index: number[]): number => bits[index[0]! * 12 + index[1]! * 4 + index[2]!]!;
    expect(x.permute([2, 0, 1]).contiguous().data()).toEqual(
      Uint16Array.from({ length: 24 }, (_, i) => at(Math.floor(i / 3) % 2, i % 3, Math.floor(i / 6))),
    );
    const part = x.slice([null, [1, 3], [0, 4, 2]]);
    expect(part.contiguous().data()).toEqual(Uint16Array.of(...[0, 1].flatMap((i) => [1, 2].flatMap((j) => [at(i, j, 0), at(i, j, 2)])))); // prettier-ignore
    expect(md.cat([x, x], 0).data()).toEqual(Uint16Array.of(...bits, ...bits));
    const order = md.tensor([1, 0], { dtype: "i64" });
    expect(md.indexSelect(x, 0, order).data()).toEqual(Uint16Array.of(...bits.slice(12), ...bits.slice(0, 12)));
    const target = md.zeros([2, 3, 4], { dtype });
    md.assign(target, x);
    expect(target.data()).toEqual(bits);
  });

  it("carries gradients of its own dtype", () => {
    const x = md.tensor([1, 2, 3], { dtype, requiresGrad: true });
    md.sum(md.mul(md.square(x), 2)).backward();
    expect(x.grad!.dtype).toBe(dtype);
    expect(x.grad!.toFlatArray()).toEqual([4, 8, 12]);
  });

  it("sums in f32", () => {
    expect(md.sum(md.full([4096], 1, { dtype })).item()).toBe(4096);
    expect(md.mean(md.full([300, 300], 1, { dtype })).item()).toBe(1);
  });

  it("is promoted beside other floats, and refused beside integers", () => {
    const x = md.tensor([0.5, 2], { dtype, requiresGrad: true });
    const other = dtype === "f16" ? "bf16" : "f16";
    for (const [partner, wider] of [
      ["f32", "f32"],
      ["f64", "f64"],
      [other, "f32"],
      [dtype, dtype],
    ] as const) {
      const y = md.tensor([3, 1], { dtype: partner });
      expect(md.add(x, y).dtype).toBe(wider);
      expect(md.mul(y, x).toFlatArray()).toEqual([1.5, 2]);
      expect(md.cat([x, y]).dtype).toBe(wider);
      expect(md.where(md.tensor([1, 0], { dtype: "bool" }), x, y).toFlatArray()).toEqual([0.5, 1]);
      expect(md.gt(x, y).toFlatArray()).toEqual([0, 1]);
    }
    expect(() => md.add(x, md.tensor([1, 2], { dtype: "i32" }))).toThrow(md.DTypeError);
    md.sum(md.mul(x, md.tensor([3, 1]))).backward();
    expect(x.grad!.dtype).toBe(dtype);
  });

  it("is not mixed with f32 by products, norms and losses, nor stepped by the optimiser", () => {
    const x = randn([2, 3], dtype);
    expect(() => md.linear(x, randn([4, 3], "f32"))).toThrow(`operands have dtypes f32 and ${dtype}, expected one`);
    expect(() => md.layerNorm(x, { weight: md.ones([3]) })).toThrow(md.DTypeError);
    const step = (): void =>
      md.adamwStep(
        { parameters: [x], grads: [x], expAvgs: [x], expAvgSqs: [x] },
        { lr: 1, betas: [0.9, 0.9], eps: 1, weightDecay: 0, step: 1 },
      );
    expect(step).toThrow(/has dtype (f16|bf16), expected f32 or f64/);
  });

  it("names the op that made a NaN", () => {
    const x = md.tensor([-1], { dtype });
    expect(() => md.detectAnomaly(() => md.sqrt(x))).toThrow(/\[sqrt\] made the first NaN/);
  });
});
