import { ShapeError, type Tensor } from "@md/tensor";

/** ShapeError unless x is [rows, channels]. */
export function requireRows(owner: string, operand: string, x: Tensor, rows: number, channels: number): void {
  if (x.rank !== 2 || x.shape[0] !== rows || x.shape[1] !== channels)
    throw new ShapeError(`[${owner}] ${operand} has shape [${x.shape}], expected [${rows},${channels}]`);
}
