import { PickleError, TorchCheckpointError } from "@md/pickle";

/** Bad demonstration data: names the file (or the input) it was found in. */
export class DataError extends Error {
  override readonly name: string = "DataError";
  /** The file or input at fault. */
  readonly source: string;
  /** What is wrong with it: the message without the source. */
  readonly problem: string;

  constructor(source: string, problem: string, options?: ErrorOptions) {
    super(`[${source}] ${problem}`, options);
    this.source = source;
    this.problem = problem;
  }
}

/** Calls `body`; a DataError that it throws of a part of `source`, which does not know where it is, names both. */
export function partOf<T>(source: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    throw new DataError(source, `${error.source} ${error.problem}`, { cause: error });
  }
}

/** Called with what is wrong with a part of a data set, which is then left out. */
export type OnBad = (error: Error) => void;

/**
 * Calls `body`; bad data go to `onBad`, and the result is then undefined. Without `onBad`, and for errors that do not lie
 * in the data, it throws.
 */
export function orSkip<T>(onBad: OnBad | undefined, body: () => T): T | undefined {
  try {
    return body();
  } catch (error) {
    skip(onBad, error);
    return undefined;
  }
}

/** {@link orSkip} of what takes its time. */
export async function orSkipAsync<T>(onBad: OnBad | undefined, body: () => Promise<T>): Promise<T | undefined> {
  try {
    return await body();
  } catch (error) {
    skip(onBad, error);
    return undefined;
  }
}

function skip(onBad: OnBad | undefined, error: unknown): void {
  const isBad = error instanceof DataError || error instanceof PickleError || error instanceof TorchCheckpointError;
  if (!onBad || !isBad) throw error;
  onBad(error);
}
