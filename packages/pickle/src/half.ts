/** IEEE half precision to f32, exact. */
export function float16ToFloat32(bits: Uint16Array): Float32Array {
  const out = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const half = bits[i]!;
    const exponent = (half >> 10) & 0x1f;
    const fraction = half & 0x3ff;
    let value: number;
    if (exponent === 0) value = fraction * 2 ** -24;
    else if (exponent < 0x1f) value = (1 + fraction / 1024) * 2 ** (exponent - 15);
    else value = fraction === 0 ? Infinity : NaN;
    out[i] = half & 0x8000 ? -value : value;
  }
  return out;
}

/** bfloat16, the upper half of an f32, to f32. */
export function bfloat16ToFloat32(bits: Uint16Array): Float32Array {
  const wide = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) wide[i] = bits[i]! << 16;
  return new Float32Array(wide.buffer);
}
