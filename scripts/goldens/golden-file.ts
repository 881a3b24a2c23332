import { type HostTensor, readSafetensorsArrays, widenHalves } from "@md/nn";
import { type DeviceName, type Tensor, tensor } from "@md/tensor";

/** A golden file in memory. */
export interface GoldenFile {
  metadata: Readonly<Record<string, string>>;
  arrays: ReadonlyMap<string, HostTensor>;
}

/** Reads a golden file whole, f16 and bf16 as f32; SafetensorsError where it is absent or malformed. */
export function readGolden(path: string): GoldenFile {
  const { metadata, arrays } = readSafetensorsArrays(path);
  return { metadata, arrays: new Map([...arrays].map(([name, found]) => [name, widenHalves(found)])) };
}

/** An entry of the metadata, parsed; undefined where it is absent or no JSON. */
export function metadata(golden: GoldenFile, key: string): unknown {
  const text = golden.metadata[key];
  try {
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Whether an entry of the metadata is a list of objects, each with a string under `key`. */
export function listsObjectsWith(golden: GoldenFile, entry: string, key: string): boolean {
  const list = metadata(golden, entry);
  return (
    Array.isArray(list) &&
    list.every((item: Partial<Record<string, unknown>> | null) => typeof item?.[key] === "string")
  );
}

/** An array by name. Error where it is absent. */
export function array(golden: GoldenFile, name: string): HostTensor {
  const found = golden.arrays.get(name);
  if (!found) throw new Error(`tensor "${name}" is absent`);
  return found;
}

/** An array as a tensor, by default on the CPU; floats in another dtype where one is given. */
export function load(golden: GoldenFile, name: string, float?: "f32" | "f64", device?: DeviceName): Tensor {
  const { dtype, shape, data } = array(golden, name);
  const isFloat = dtype === "f32" || dtype === "f64";
  return tensor(data, { shape, dtype: isFloat ? (float ?? dtype) : dtype, device });
}
