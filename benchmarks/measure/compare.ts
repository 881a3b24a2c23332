import type { HostTensor } from "../peers/protocol.js";

/** A result that is not the reference's; such a case is not timed. */
export class WrongResult extends Error {
  override readonly name = "WrongResult";
}

/**
 * ‖actual - expected‖ <= tolerance · ‖expected‖ + 1e-7 for floats, equality for integers or tolerance 0; a NaN on either side fails.
 * @throws WrongResult naming `what`, the output and how far off it is
 */
export function requireSame(
  what: string,
  actual: readonly HostTensor[],
  expected: readonly HostTensor[],
  tolerance: number,
): void {
  if (actual.length !== expected.length)
    throw new WrongResult(`${what}: ${actual.length} outputs, expected ${expected.length}`);
  actual.forEach((output, i) => {
    const wanted = expected[i];
    if (output.data.length !== wanted.data.length)
      throw new WrongResult(`${what}: output ${i} has shape [${output.shape}], expected [${wanted.shape}]`);
    const { distance, norm } = distanceOf(output.data, wanted.data);
    const allowed = isFloat(wanted) && tolerance > 0 ? tolerance * norm + 1e-7 : 0;
    if (!(distance <= allowed))
      throw new WrongResult(
        `${what}: output ${i} is ${distance.toPrecision(3)} from the expected, at most ${allowed.toPrecision(3)} allowed`,
      );
  });
}

const isFloat = ({ data }: HostTensor): boolean => data instanceof Float32Array || data instanceof Float64Array;

function distanceOf(actual: HostTensor["data"], expected: HostTensor["data"]): { distance: number; norm: number } {
  let [distance, norm] = [0, 0];
  for (let i = 0; i < actual.length; i++) {
    const [a, b] = [Number(actual[i]), Number(expected[i])];
    distance += (a - b) ** 2;
    norm += b * b;
  }
  return { distance: Math.sqrt(distance), norm: Math.sqrt(norm) };
}

/** Whether both hold the same bits. */
export const sameBits = (a: readonly HostTensor[], b: readonly HostTensor[]): boolean =>
  a.length === b.length && a.every((tensor, i) => bytesOf(tensor).equals(bytesOf(b[i])));

const bytesOf = ({ data }: HostTensor): Buffer => Buffer.from(data.buffer, data.byteOffset, data.byteLength);
