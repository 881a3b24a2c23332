/** A PyTorch checkpoint that cannot be read or written; `field` is the part at fault, such as `tensor "a": strides`. */
export class TorchCheckpointError extends Error {
  override readonly name = "TorchCheckpointError";
  constructor(
    readonly file: string,
    readonly field: string,
    problem: string,
    options?: ErrorOptions,
  ) {
    super(`${file}: ${field} ${problem}`, options);
  }
}
