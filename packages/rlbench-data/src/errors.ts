/** Bad demonstration data: names the file (or the input) it was found in. */
export class DataError extends Error {
  override readonly name: string = "DataError";
  /** The file or input at fault. */
  readonly source: string;

  constructor(source: string, problem: string, options?: ErrorOptions) {
    super(`[${source}] ${problem}`, options);
    this.source = source;
  }
}
