import { ValueError } from "@md/native";

/** Where a tensor lies: the CPU or an NVIDIA GPU. */
export type Device = "cpu" | `cuda:${number}`;
/** The same as options take it: "cuda" is "cuda:0". */
export type DeviceName = Device | "cuda";

const names = new Map<number, Device>([[0, "cpu"]]);

/** The device that the addon's integer stands for: its type in the low byte, its index above. */
export function deviceOfCode(code: number): Device {
  let name = names.get(code);
  if (name === undefined) names.set(code, (name = `cuda:${code >> 8}`));
  return name;
}

/** The integer that stands for a device. ValueError for another name than "cpu", "cuda" or "cuda:<index>". */
export function deviceCode(op: string, device: DeviceName = "cpu"): number {
  if (device === "cpu") return 0;
  const [, index] = /^cuda(?::(\d{1,4}))?$/.exec(device) ?? fail(op, device);
  return 1 | (Number(index ?? 0) << 8);
}

function fail(op: string, device: string): never {
  throw new ValueError(`[${op}] found the device "${device}", expected "cpu", "cuda" or "cuda:<index>"`);
}

/** Whether `name` is a device's name, and no dtype's. */
export const isDevice = (name: string): name is DeviceName => name === "cpu" || name.startsWith("cuda");
