import { TensorError } from "@md/tensor";

/** A text that CLIP cannot take, or a file of vocabulary or weights that does not fit. */
export class ClipError extends TensorError {
  constructor(
    /** The file, or the text. */
    readonly subject: string,
    problem: string,
    options?: ErrorOptions,
  ) {
    super(`[${subject}] ${problem}`);
    if (options?.cause !== undefined) this.cause = options.cause;
  }
}
