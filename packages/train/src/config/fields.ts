import type { DeviceName } from "@md/tensor";

/** One value of a configuration: its default, and what it accepts. */
export interface Field<T> {
  default: T;
  /** Completes "expected …". */
  expected: string;
  accepts(value: unknown): boolean;
}

/** Fields in sections, as deep as the configuration. */
export type Schema<C> = {
  [K in keyof C]: C[K] extends Record<string, unknown> ? Schema<C[K]> | Field<C[K]> : Field<C[K]>;
};
export type AnySchema = { readonly [key: string]: Field<unknown> | AnySchema };

export const isField = (entry: Field<unknown> | AnySchema): entry is Field<unknown> =>
  typeof (entry as Field<unknown>).accepts === "function";

/** An integer from `minimum` to `maximum`; any above `minimum` by default. */
export const integer = (fallback: number, minimum: number, maximum = Number.MAX_SAFE_INTEGER): Field<number> => ({
  default: fallback,
  expected:
    maximum === Number.MAX_SAFE_INTEGER
      ? `an integer of at least ${minimum}`
      : `an integer from ${minimum} to ${maximum}`,
  accepts: (value) => Number.isSafeInteger(value) && (value as number) >= minimum && (value as number) <= maximum,
});

/** A finite number above `minimum`. */
export const above = (fallback: number, minimum: number): Field<number> => ({
  default: fallback,
  expected: `a number above ${minimum}`,
  accepts: (value) => Number.isFinite(value) && (value as number) > minimum,
});

/** A number in [low, high]. */
export const within = (fallback: number, low: number, high: number): Field<number> => ({
  default: fallback,
  expected: high === Infinity ? `a number of at least ${low}` : `a number from ${low} to ${high}`,
  accepts: (value) => Number.isFinite(value) && (value as number) >= low && (value as number) <= high,
});

export const flag = (fallback: boolean): Field<boolean> => ({
  default: fallback,
  expected: "true or false",
  accepts: (value) => typeof value === "boolean",
});

export const text = (fallback: string): Field<string> => ({
  default: fallback,
  expected: "a text",
  accepts: (value) => typeof value === "string" && value !== "",
});

/** One of a few words. */
export const oneOf = <T extends string>(fallback: T, ...others: readonly T[]): Field<T> => {
  const words: readonly unknown[] = [fallback, ...others];
  return {
    default: fallback,
    expected: words.map((word) => `"${String(word)}"`).join(" or "),
    accepts: (value) => words.includes(value),
  };
};

/** Where to compute. */
export const device: Field<DeviceName> = {
  default: "cpu",
  expected: '"cpu", "cuda" or "cuda:<index>"',
  accepts: (value) => typeof value === "string" && /^(cpu|cuda(:\d{1,4})?)$/.test(value),
};

/** A list of names. */
export const names: Field<readonly string[]> = {
  default: [],
  expected: "a list of names",
  accepts: (value) => Array.isArray(value) && value.length > 0 && value.every((name) => typeof name === "string"),
};

/** A weight for each name. */
export const weights: Field<Readonly<Record<string, number>>> = {
  default: {},
  expected: "a weight of at least 0 for each name",
  accepts: (value) =>
    jsonType(value) === "a section" &&
    Object.values(value as object).every((weight) => Number.isFinite(weight) && (weight as number) >= 0),
};

/** The field, or null; null is the default. */
export const optional = <T>(field: Field<T>): Field<T | null> => ({
  default: null,
  expected: `${field.expected}, or null`,
  accepts: (value) => value === null || field.accepts(value),
});

/** Anything of the same JSON type as `fallback`; what is in it is its owner's to check. */
export const like = (fallback: unknown): Field<unknown> => ({
  default: fallback,
  expected: jsonType(fallback),
  accepts: (value) => jsonType(value) === jsonType(fallback),
});

/** "a number", "a list", …; for error messages. */
export function jsonType(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "string") return "a text";
  return typeof value === "object" ? "a section" : `a ${typeof value}`;
}
