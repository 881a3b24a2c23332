import {
  assign,
  erf,
  full,
  type Generator,
  gt,
  logicalOr,
  lt,
  noGrad,
  rand,
  randn,
  scope,
  ShapeError,
  tensor,
  type Tensor,
  ValueError,
  where,
} from "@md/tensor";

// Each function overwrites a tensor in place, without a gradient, and returns it. Names and defaults are PyTorch's.

interface Random {
  generator: Generator;
}

function fill<T extends Tensor>(target: T, make: () => Tensor): T {
  noGrad(() => scope(() => assign(target, make())));
  return target;
}

export const constant = <T extends Tensor>(target: T, value: number): T =>
  fill(target, () => full(target.shape, value, { dtype: target.dtype }));
export const zeros = <T extends Tensor>(target: T): T => constant(target, 0);
export const ones = <T extends Tensor>(target: T): T => constant(target, 1);

/** Uniform on [low, high), default [0, 1). */
export const uniform = <T extends Tensor>(
  target: T,
  { generator, low = 0, high = 1 }: Random & { low?: number; high?: number },
): T => fill(target, () => rand(target.shape, { generator, dtype: target.dtype, low, high }));

/** Normal; mean 0 and std 1 by default. */
export const normal = <T extends Tensor>(
  target: T,
  { generator, mean = 0, std = 1 }: Random & { mean?: number; std?: number },
): T => fill(target, () => randn(target.shape, { generator, dtype: target.dtype }).mul(std).add(mean));

/**
 * Normal with mean and std (default 0 and 1), given that it lies in [low, high] (default ±2, absolute). ValueError where
 * less than a hundredth of the distribution does.
 */
export function truncNormal<T extends Tensor>(
  target: T,
  {
    generator,
    mean = 0,
    std = 1,
    low = -2,
    high = 2,
  }: Random & { mean?: number; std?: number; low?: number; high?: number },
): T {
  const [below, above] = scope(() =>
    erf(
      tensor(
        [low, high].map((bound) => (bound - mean) / (std * Math.SQRT2)),
        { dtype: "f64" },
      ),
    ).toFlatArray(),
  );
  const share = (above! - below!) / 2;
  if (!(std > 0 && share >= 0.01)) {
    throw new ValueError(
      `[truncNormal] [${low}, ${high}] holds ${share} of the normal (${mean}, ${std}), expected at least 0.01`,
    );
  }
  return fill(target, () => {
    const draw = (): Tensor => randn(target.shape, { generator, dtype: target.dtype }).mul(std).add(mean);
    const lower = full([], low, { dtype: target.dtype });
    const upper = full([], high, { dtype: target.dtype });
    const outside = (x: Tensor): Tensor => logicalOr(lt(x, lower), gt(x, upper));
    let x = draw();
    for (;;) {
      const again = outside(x);
      if (!again.data().includes(1 as never)) return x;
      x = where(again, draw(), x);
    }
  });
}

/** Fan-in and fan-out of a weight [out, in, ...kernel]. ShapeError below rank 2. */
function fans({ shape }: Tensor): { fanIn: number; fanOut: number } {
  const [out, input, ...kernel] = shape;
  if (out === undefined || input === undefined)
    throw new ShapeError(`[init] shape is [${shape}], expected [out, in, ...kernel]`);
  const field = kernel.reduce((total, extent) => total * extent, 1);
  return { fanIn: input * field, fanOut: out * field };
}

/** Uniform on ±gain·√(6 / (fanIn + fanOut)) (Glorot & Bengio, 2010). */
export function xavierUniform<T extends Tensor>(target: T, { generator, gain = 1 }: Random & { gain?: number }): T {
  const { fanIn, fanOut } = fans(target);
  return symmetric(target, gain * Math.sqrt(6 / (fanIn + fanOut)), generator);
}

/** Normal with std gain·√(2 / (fanIn + fanOut)) (Glorot & Bengio, 2010). */
export function xavierNormal<T extends Tensor>(target: T, { generator, gain = 1 }: Random & { gain?: number }): T {
  const { fanIn, fanOut } = fans(target);
  return normal(target, { generator, std: gain * Math.sqrt(2 / (fanIn + fanOut)) });
}

/**
 * Uniform on ±√(6 / ((1 + a²) fanIn)) (He et al., 2015); `a` is the slope of the leaky ReLU behind the layer. Linear and
 * Conv2d take a = √5, which is ±1/√fanIn. `fanIn` replaces that of a weight [out, in, ...kernel].
 */
export function kaimingUniform<T extends Tensor>(
  target: T,
  { generator, a = 0, fanIn }: Random & { a?: number; fanIn?: number },
): T {
  return symmetric(target, Math.sqrt(6 / ((1 + a * a) * (fanIn ?? fans(target).fanIn))), generator);
}

// An empty range stands for a weight without elements.
const symmetric = <T extends Tensor>(target: T, bound: number, generator: Generator): T =>
  target.size === 0 ? target : uniform(target, { generator, low: -bound, high: bound });
