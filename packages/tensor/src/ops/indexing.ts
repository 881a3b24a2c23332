import { native, ShapeError } from "@md/native";
import { type DType, dtypeCode } from "../dtype.js";
import { execute } from "../primitives.js";
import { promote } from "../promote.js";
import type { Tensor } from "../tensor.js";
import { resolveAxis } from "./shape.js";
import { reshape, unsqueeze } from "./views.js";

interface AlongAxis {
  dim: number;
}
export interface IndexingAttrs {
  cat: AlongAxis;
  indexSelect: AlongAxis;
  permuteRows: AlongAxis;
  indexAdd: AlongAxis;
  indexSelectGrad: object;
  gather: AlongAxis;
  scatterAdd: AlongAxis;
  gatherGrad: object;
  oneHot: object;
}

/** Joins tensors of one dtype along `dim`; their other extents agree. */
export function cat(tensors: readonly Tensor[], dim = 0): Tensor {
  const axis = resolveAxis("cat", dim, tensors[0]?.rank ?? 1);
  tensors = promote(...tensors);
  return execute("cat", tensors, { dim: axis }, () =>
    native.cat(
      Int32Array.from(tensors, (x) => x.slot),
      axis,
    ),
  );
}

/** Joins tensors of one shape and dtype along a new axis `dim`. */
export function stack(tensors: readonly Tensor[], dim = 0): Tensor {
  return cat(
    tensors.map((x) => unsqueeze(x, dim)),
    dim,
  );
}

/**
 * Rows of x along `dim`: out[…, i, …] = x[…, index[i], …]. Any dtype.
 * @param index [K], i32 or i64; ValueError for one outside 0 to extent - 1
 */
export function indexSelect(x: Tensor, dim: number, index: Tensor): Tensor {
  const axis = resolveAxis("indexSelect", dim, x.rank);
  return execute("indexSelect", [x, index], { dim: axis }, () => native.indexSelect(x.slot, index.slot, axis));
}

/**
 * {@link indexSelect} by a permutation of the rows, whose gradient is one by its inverse: faster than adding up rows that
 * might repeat.
 * @param order [extent of `dim`], i32 or i64, a permutation
 * @param inverse the same, with inverse[order[i]] = i, which is not checked
 * @throws ShapeError unless both have as many elements as x has rows
 */
export function permuteRows(x: Tensor, dim: number, order: Tensor, inverse: Tensor): Tensor {
  const axis = resolveAxis("permuteRows", dim, x.rank);
  for (const [name, { shape }] of Object.entries({ order, inverse })) {
    if (shape.length !== 1 || shape[0] !== x.shape[axis])
      throw new ShapeError(
        `[permuteRows] ${name} has shape [${shape}], expected [${x.shape[axis]}] for dim ${dim} of [${x.shape}]`,
      );
  }
  return execute("permuteRows", [x, order, inverse], { dim: axis }, () => native.indexSelect(x.slot, order.slot, axis));
}

/** x with out[…, index[i], …] += source[…, i, …] along `dim`, in the order of i; an index may occur several times. */
export function indexAdd(x: Tensor, dim: number, index: Tensor, source: Tensor): Tensor {
  const axis = resolveAxis("indexAdd", dim, x.rank);
  [x, source] = promote(x, source);
  return execute("indexAdd", [x, index, source], { dim: axis }, () =>
    native.indexAdd(x.slot, index.slot, source.slot, axis),
  );
}

/**
 * Single elements of x along `dim`: out[p] = x[p with p[dim] = index[p]]. Any dtype.
 * @param index i32 or i64, of x's rank and, but for `dim`, at most its extents
 */
export function gather(x: Tensor, dim: number, index: Tensor): Tensor {
  const axis = resolveAxis("gather", dim, x.rank);
  return execute("gather", [x, index], { dim: axis }, () => native.gather(x.slot, index.slot, axis));
}

/** x with out[p with p[dim] = index[p]] += source[p], in row-major order of p; source has the shape of index. */
export function scatterAdd(x: Tensor, dim: number, index: Tensor, source: Tensor): Tensor {
  const axis = resolveAxis("scatterAdd", dim, x.rank);
  [x, source] = promote(x, source);
  return execute("scatterAdd", [x, index, source], { dim: axis }, () =>
    native.scatterAdd(x.slot, index.slot, source.slot, axis),
  );
}

/** Rows of a table [count, width] by index of any shape: [...index, width]. ValueError for an index outside 0 to count - 1. */
export function embedding(index: Tensor, weight: Tensor): Tensor {
  if (weight.rank !== 2)
    throw new ShapeError(`[embedding] weight has shape [${weight.shape}], expected [count, width]`);
  return reshape(indexSelect(weight, 0, reshape(index, [index.size])), [...index.shape, weight.shape[1]!]);
}

/** [...index, classes]: 1 at the index, 0 elsewhere. ValueError for an index outside 0 to classes - 1. Default f32. */
export function oneHot(index: Tensor, classes: number, { dtype = "f32" }: { dtype?: DType } = {}): Tensor {
  return execute("oneHot", [index], {}, () => native.oneHot(index.slot, classes, dtypeCode(dtype)));
}
