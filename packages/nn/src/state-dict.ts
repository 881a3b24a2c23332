import { assign, type DType, noGrad, scope, type Tensor, TensorError } from "@md/tensor";

/** Tensors by dotted name, such as `layers.0.weight`. */
export type StateDict = Map<string, Tensor>;

/** A tensor of a state dict that does not fit its target. */
export interface Mismatch {
  name: string;
  found: string;
  expected: string;
}

/** How a state dict differs from the one that is expected. */
export interface StateDictDifference {
  /** Names that are expected and not there. */
  missing: string[];
  /** Names that are there and not expected. */
  unexpected: string[];
  /** Names with another shape, or with a dtype that is not converted. */
  mismatched: Mismatch[];
}

/** What a state dict is compared by. */
type Described = ReadonlyMap<string, { dtype: DType; shape: readonly number[] }>;

/** Compares names, shapes and dtypes. Floats count as one dtype: loading converts them into each other. */
export function compareStateDicts(expected: Described, found: Described): StateDictDifference {
  const mismatched = [...expected].flatMap(([name, target]): Mismatch[] => {
    const value = found.get(name);
    if (!value || describe(value.shape, kind(value.dtype)) === describe(target.shape, kind(target.dtype))) return [];
    return [{ name, found: describe(value.shape, value.dtype), expected: describe(target.shape, target.dtype) }];
  });
  return {
    missing: [...expected.keys()].filter((name) => !found.has(name)),
    unexpected: [...found.keys()].filter((name) => !expected.has(name)),
    mismatched,
  };
}

/** A line for each name in which state dicts differ; none where they do not. */
export function describeDifference({ missing, unexpected, mismatched }: StateDictDifference): string[] {
  return [
    ...missing.map((name) => `missing ${name}`),
    ...unexpected.map((name) => `unexpected ${name}`),
    ...mismatched.map(({ name, found, expected }) => `${name} is ${found}, expected ${expected}`),
  ];
}

/** A state dict that does not fit a module. Nothing was loaded. */
export class StateDictError extends TensorError {
  /** Names that the module has and the dict lacks. */
  readonly missing: readonly string[];
  /** Names that the dict has and the module lacks. */
  readonly unexpected: readonly string[];
  /** Names with another shape, or with a dtype that is not converted. */
  readonly mismatched: readonly Mismatch[];

  constructor(difference: StateDictDifference) {
    const lines = describeDifference(difference);
    super(`[loadStateDict] the state dict does not fit the module:\n  ${lines.join("\n  ")}`);
    this.missing = difference.missing;
    this.unexpected = difference.unexpected;
    this.mismatched = difference.mismatched;
  }
}

export interface LoadOptions {
  /** Whether missing and unexpected names are errors. Default true. */
  strict?: boolean;
}

/**
 * Copies `source` into `targets` by name, all or nothing. floats convert into each other; any other difference of
 * dtype, and every difference of shape, is an error even when not `strict`.
 */
export function copyStateDict(
  targets: StateDict,
  source: ReadonlyMap<string, Tensor>,
  { strict = true }: LoadOptions = {},
): { missing: string[]; unexpected: string[] } {
  for (const dict of [targets, source]) dict.forEach(({ slot }) => void slot); // Throws for a disposed tensor.
  const { missing, unexpected, mismatched } = compareStateDicts(targets, source);
  if (mismatched.length > 0 || (strict && missing.length + unexpected.length > 0)) {
    throw new StateDictError(
      strict ? { missing, unexpected, mismatched } : { missing: [], unexpected: [], mismatched },
    );
  }
  const copies = [...targets].flatMap(([name, target]) => {
    const value = source.get(name);
    return value ? [[target, value] as const] : [];
  });
  noGrad(() =>
    scope(() => {
      // Converted first, so that an allocation that fails leaves the module as it was.
      const converted = copies.map(([target, value]) => [target, value.to(target.dtype).contiguous()] as const);
      for (const [target, value] of converted) assign(target, value);
    }),
  );
  return { missing, unexpected };
}

const floats: readonly DType[] = ["f32", "f64", "f16", "bf16"];
const kind = (dtype: DType): string => (floats.includes(dtype) ? "float" : dtype);
const describe = (shape: readonly number[], dtype: string): string => `${dtype} [${shape}]`;
