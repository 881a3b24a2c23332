import type { PickleGlobal, PickleValue } from "./values.js";

/** Bounds on what one pickle may ask for. */
export interface PickleLimits {
  /** Size of the file, in bytes. Default 256 MiB. */
  maxBytes: number;
  /** Depth of nested marks (open containers). Default 256. */
  maxDepth: number;
  /** Entries of the memo. Default 8 Mi. */
  maxMemo: number;
  /** Bytes of all values together, lists counted at 64 bytes, dicts, sets and objects at 256. Default 640 MiB. */
  maxAllocation: number;
}

/** How `unpickle` reads. */
export interface UnpickleOptions extends Partial<PickleLimits> {
  /** Whether instances of this class (`module.Name`) are read as inert records of their attributes. Default: of none. */
  isRecord?: (className: string) => boolean;
}

/** What a format that is built on pickles adds to the whitelist. */
export interface PickleDialect {
  globals: ReadonlyMap<string, PickleGlobal>;
  /** What a persistent id stands for. */
  persistentLoad(id: PickleValue): PickleValue;
}

export const DEFAULT_LIMITS: PickleLimits = {
  maxBytes: 256 * 2 ** 20,
  maxDepth: 256,
  maxMemo: 8 * 2 ** 20,
  maxAllocation: 640 * 2 ** 20,
};
