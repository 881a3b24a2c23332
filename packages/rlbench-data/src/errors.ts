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

/** A pickle that is corrupt, hostile or holds something that is not on the whitelist. */
export class PickleError extends DataError {
  override readonly name = "PickleError";
  /** Name of the pickle opcode that was being read. */
  readonly opcode: string;
  /** Byte offset of that opcode. */
  readonly offset: number;

  constructor(source: string, opcode: string, offset: number, problem: string, options?: ErrorOptions) {
    super(source, `${problem} (opcode ${opcode} at byte ${offset})`, options);
    this.opcode = opcode;
    this.offset = offset;
  }
}
