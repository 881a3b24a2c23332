/** An input that the parser takes, from which cases are made. */
export interface Seed {
  /** What is mutated. */
  content: Uint8Array;
  /** Puts mutated content where the parser finds it, as in a compressed container. Default: the content is the input. */
  wrap?: (content: Uint8Array) => Uint8Array | Promise<Uint8Array>;
}

/** One parser under test. */
export interface Target {
  name: string;
  /** Small inputs, made by the project's own writers or spelled out. The same in every run. */
  seeds(): Promise<readonly Seed[]> | readonly Seed[];
  /**
   * Reads an input whole, as its users would, and throws where a result is not what it claims to be.
   *
   * @param file a path that the input is to be called by, or written to: every error must name it
   */
  parse(input: Uint8Array, file: string): unknown;
  /** The errors that bad input may lead to. */
  errors: readonly (abstract new (...args: never[]) => Error)[];
}

/** A parser that reads files. */
export type ParseFile = (file: string) => unknown;
