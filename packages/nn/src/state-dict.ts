import { assign, noGrad, scope, type Tensor, TensorError } from "@md/tensor";

/** Tensors by dotted name, such as `layers.0.weight`. */
export type StateDict = Map<string, Tensor>;

/** A tensor of a state dict that does not fit its target. */
export interface Mismatch {
  name: string;
  found: string;
  expected: string;
}

/** A state dict that does not fit a module. Nothing was loaded. */
export class StateDictError extends TensorError {
  constructor(
    /** Names that the module has and the dict lacks. */
    readonly missing: readonly string[],
    /** Names that the dict has and the module lacks. */
    readonly unexpected: readonly string[],
    /** Names with another shape, or with a dtype that is not converted. */
    readonly mismatched: readonly Mismatch[],
  ) {
    const lines = [
      ...missing.map((name) => `missing ${name}`),
      ...unexpected.map((name) => `unexpected ${name}`),
      ...mismatched.map(({ name, found, expected }) => `${name} is ${found}, expected ${expected}`),
    ];
    super(`[loadStateDict] the state dict does not fit the module:\n  ${lines.join("\n  ")}`);
  }
}

export interface LoadOptions {
  /** Whether missing and unexpected names are errors. Default true. */
  strict?: boolean;
}

/**
 * Copies `source` into `targets` by name, all or nothing. f32 and f64 convert into each other; any other difference of
 * dtype, and every difference of shape, is an error even when not `strict`.
 */
export function copyStateDict(
  targets: StateDict,
  source: ReadonlyMap<string, Tensor>,
  { strict = true }: LoadOptions = {},
): { missing: string[]; unexpected: string[] } {
  const missing = [...targets.keys()].filter((name) => !source.has(name));
  const unexpected = [...source.keys()].filter((name) => !targets.has(name));
  const mismatched: Mismatch[] = [];
  const copies: [Tensor, Tensor][] = [];
  for (const [name, target] of targets) {
    const value = source.get(name);
    if (!value) continue;
    void value.slot;
    void target.slot;
    if (describe(value.shape, kind(value)) === describe(target.shape, kind(target))) copies.push([target, value]);
    else
      mismatched.push({
        name,
        found: describe(value.shape, value.dtype),
        expected: describe(target.shape, target.dtype),
      });
  }
  if (mismatched.length > 0 || (strict && missing.length + unexpected.length > 0)) {
    throw new StateDictError(strict ? missing : [], strict ? unexpected : [], mismatched);
  }
  noGrad(() =>
    scope(() => {
      // Converted first, so that an allocation that fails leaves the module as it was.
      const converted = copies.map(([target, value]) => [target, value.to(target.dtype).contiguous()] as const);
      for (const [target, value] of converted) assign(target, value);
    }),
  );
  return { missing, unexpected };
}

const kind = ({ dtype }: Tensor): string => (dtype === "f32" || dtype === "f64" ? "float" : dtype);
const describe = (shape: readonly number[], dtype: string): string => `${dtype} [${shape}]`;
