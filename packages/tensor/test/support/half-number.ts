import type { HalfDType } from "../../src/index.js";

/** The number that 16 bits stand for, by the definition of the format (IEEE 754; bfloat16 with 8 bits of exponent). */
export function halfNumber(bits: number, dtype: HalfDType): number {
  const fractionBits = dtype === "f16" ? 10 : 7;
  const bias = dtype === "f16" ? 15 : 127;
  const most = dtype === "f16" ? 31 : 255;
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits & 0x7fff) >> fractionBits;
  const fraction = (bits & ((1 << fractionBits) - 1)) / 2 ** fractionBits;
  if (exponent === most) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** (1 - bias) : sign * (1 + fraction) * 2 ** (exponent - bias);
}
