/** A safetensors file that cannot be read or written; `field` is the part at fault, such as `tensor "a": shape`. */
export class SafetensorsError extends Error {
  override readonly name = "SafetensorsError";
  constructor(
    readonly file: string,
    readonly field: string,
    problem: string,
    options?: ErrorOptions,
  ) {
    super(`${file}: ${field} ${problem}`, options);
  }
}
