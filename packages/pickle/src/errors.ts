/** A pickle that is corrupt, hostile or holds something that is not on the whitelist. */
export class PickleError extends Error {
  override readonly name = "PickleError";
  constructor(
    /** The file or input at fault. */
    readonly source: string,
    /** Name of the pickle opcode that was being read. */
    readonly opcode: string,
    /** Byte offset of that opcode. */
    readonly offset: number,
    problem: string,
    options?: ErrorOptions,
  ) {
    super(`[${source}] ${problem} (opcode ${opcode} at byte ${offset})`, options);
  }
}
