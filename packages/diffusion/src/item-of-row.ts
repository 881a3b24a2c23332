import { type DeviceName, tensor, type Tensor } from "@md/tensor";

/** The item of each row, where every item has `rowsPerItem` rows, one item after the other: i32 [items · rowsPerItem]. */
export const itemOfRow = (items: number, rowsPerItem: number, device: DeviceName): Tensor =>
  tensor(
    Int32Array.from({ length: items * rowsPerItem }, (_, row) => Math.floor(row / rowsPerItem)),
    { device },
  );
