import { type DeviceName, tensor, type Tensor, ValueError } from "@md/tensor";

/**
 * How large a patch is where an item has fewer rows than asked for: as many as the item has, so that an item does not
 * depend on the others of its batch; or, as Point Transformer V3 does, as many for all items as the smallest one has.
 */
export type PatchRule = (typeof patchRules)[number];
const patchRules = ["item", "batch"] as const;

/**
 * Patches along an order of rows. All of an item's patches have the same number of keys: where the rows do not divide,
 * the last patch has the rows before it as keys, too (Wu et al., "Point Transformer V3", 2024).
 */
export interface Patches {
  /** Of queries: every row once. */
  cuSeqlensQ: Int32Array;
  /** Of keys. */
  cuSeqlensK: Int32Array;
  /** i32: places in the order of all keys, patch by patch; null where they are those of the queries. */
  keys: Tensor | null;
}

/** ValueError unless there are patches of such a size and rule. */
export function checkPatches(owner: string, patchSize: number, rule: PatchRule): void {
  if (!Number.isSafeInteger(patchSize) || patchSize < 1)
    throw new ValueError(`[${owner}] patchSize is ${patchSize}, expected an integer of at least 1`);
  if (!patchRules.includes(rule))
    throw new ValueError(`[${owner}] patchRule is ${String(rule)}, expected ${patchRules.join(" or ")}`);
}

/**
 * @param offsets [B + 1], rows of each item
 * @param device of `keys`. Default "cpu"
 */
export function patchesOf(
  offsets: Int32Array,
  patchSize: number,
  rule: PatchRule,
  device: DeviceName = "cpu",
): Patches {
  checkPatches("patchesOf", patchSize, rule);
  const items = offsets.length - 1;
  const counts = Array.from({ length: items }, (_, item) => offsets[item + 1]! - offsets[item]!);
  const smallest = Math.min(patchSize, ...counts);
  const [queries, ends] = [[0], [0]];
  const keys: number[] = [];
  counts.forEach((count, item) => {
    const begin = offsets[item]!;
    const size = rule === "batch" ? smallest : Math.min(patchSize, count);
    for (let first = 0; first < count; first += size) {
      const end = Math.min(first + size, count);
      queries.push(begin + end);
      for (let row = end - size; row < end; row++) keys.push(begin + row);
      ends.push(keys.length);
    }
  });
  const padded = keys.length > offsets[items]!;
  return {
    cuSeqlensQ: Int32Array.from(queries),
    cuSeqlensK: Int32Array.from(ends),
    keys: padded ? tensor(Int32Array.from(keys), { device }) : null,
  };
}
