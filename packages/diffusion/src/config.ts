import { ValueError } from "@md/tensor";
import { closest } from "fastest-levenshtein";

/** A configuration that a policy or scheduler cannot use because of the value of one key. */
export class ConfigKeyError extends ValueError {
  constructor(
    /** Name of the policy or scheduler. */
    owner: string,
    readonly key: string,
    /** What was found and what was expected, as in `is 0, expected an integer from 1 to 1000`. */
    readonly problem: string,
  ) {
    super(`[${owner}] config key "${key}" ${problem}`);
  }
}

/** One key of a configuration: its default, and what is wrong with a value (undefined: nothing). */
export interface Field<T> {
  default: T;
  expected: string;
  accepts(value: unknown): boolean;
}
export type Fields<C> = { [K in keyof C]: Field<C[K]> };

/** An integer from `minimum` to `maximum`, 2^24 where nothing else is said: a bound on loops and lists made from it. */
export const integer = (fallback: number, minimum: number, maximum = 2 ** 24): Field<number> => ({
  default: fallback,
  expected: `an integer from ${minimum} to ${maximum}`,
  accepts: (value) => Number.isSafeInteger(value) && (value as number) >= minimum && (value as number) <= maximum,
});

/** A number between two bounds, both excluded. */
export const between = (fallback: number, low: number, high: number): Field<number> => ({
  default: fallback,
  expected: high === Infinity ? `a number above ${low}` : `a number between ${low} and ${high}`,
  accepts: (value) => typeof value === "number" && value > low && value < high,
});

/** A finite number of at least 0. */
export const notNegative = (fallback: number): Field<number> => ({
  default: fallback,
  expected: "a finite number of at least 0",
  accepts: (value) => Number.isFinite(value) && (value as number) >= 0,
});

export const flag = (fallback: boolean): Field<boolean> => ({
  default: fallback,
  expected: "true or false",
  accepts: (value) => typeof value === "boolean",
});

/** One of a list of names. */
export const oneOf = <T extends string>(fallback: T, names: readonly T[]): Field<T> => ({
  default: fallback,
  expected: names.map((name) => `"${name}"`).join(", "),
  accepts: (value) => (names as readonly unknown[]).includes(value),
});

/**
 * Checks widths that depend on each other.
 *
 * @param widths.mlpRatio hidden channels of the feed-forward part, as a multiple of embedDim
 * @throws ConfigKeyError unless each head has 6 channels or more, for the rotary embedding, and there are 1 to 2^24
 *   hidden channels
 */
export function checkWidths(
  owner: string,
  { embedDim, numHeads, mlpRatio }: { embedDim: number; numHeads: number; mlpRatio: number },
): void {
  if (embedDim % numHeads !== 0 || embedDim / numHeads < 6) {
    const expected = `a multiple of numHeads = ${numHeads} with 6 channels or more a head`;
    throw new ConfigKeyError(owner, "embedDim", `is ${embedDim}, expected ${expected}`);
  }
  const hidden = Math.round(embedDim * mlpRatio);
  if (!(hidden >= 1 && hidden <= 2 ** 24)) {
    const problem = `is ${mlpRatio}, which makes ${hidden} hidden channels of ${embedDim}`;
    throw new ConfigKeyError(owner, "mlpRatio", `${problem}, expected 1 to ${2 ** 24}`);
  }
}

/**
 * `given` completed with defaults, frozen. Keys that are undefined count as absent.
 *
 * @throws ValueError naming `owner` and the key, for an unknown key (with the nearest known one); {@link ConfigKeyError}
 *   for a value out of range
 */
export function resolveConfig<C extends object>(owner: string, fields: Fields<C>, given: unknown): Readonly<C> {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new ValueError(`[${owner}] config is ${JSON.stringify(given)}, expected an object`);
  }
  const known = Object.keys(fields) as (keyof C & string)[];
  const values = given as { [K in keyof C]?: unknown };
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(fields, key)) {
      throw new ValueError(`[${owner}] unknown config key "${key}"; the nearest is "${closest(key, known)}"`);
    }
  }
  const config = known.map((key) => {
    const field: Field<unknown> = fields[key];
    const value = values[key] ?? field.default;
    if (values[key] === null || !field.accepts(value)) {
      throw new ConfigKeyError(owner, key, `is ${shown(values[key])}, expected ${field.expected}`);
    }
    return [key, value];
  });
  return Object.freeze(Object.fromEntries(config) as C);
}

// JSON has no NaN and no Infinity.
const shown = (value: unknown): string => (typeof value === "number" ? String(value) : JSON.stringify(value));
