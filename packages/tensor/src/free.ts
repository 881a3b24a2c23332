import { native } from "@md/native";

// Slots that are to be freed together, and how many: a call for each would take longer than what it does.
const batch = new Int32Array(64);
let [count, collecting] = [0, false];

/** Frees a native slot, or, within {@link freeTogether}, does so soon. */
export function free(slot: number): void {
  if (!collecting) return native.free(slot);
  batch[count++] = slot;
  if (count === batch.length) flush();
}

/** Runs `body`, which frees many slots and does nothing else. Does not nest. */
export function freeTogether(body: () => void): void {
  collecting = true;
  try {
    body();
  } finally {
    collecting = false;
    if (count > 0) flush();
  }
}

function flush(): void {
  native.freeSlots(count === batch.length ? batch : batch.subarray(0, count));
  count = 0;
}
