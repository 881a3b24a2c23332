/** Base of the errors that name something the user can mend; commands print the message alone. */
export class TrainError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** A configuration that cannot be used. */
export class ConfigError extends TrainError {
  constructor(
    /** File or option that the value came from. */
    readonly source: string,
    /** Dotted key, such as `training.batchSize`; empty for the whole. */
    readonly field: string,
    problem: string,
    options?: ErrorOptions,
  ) {
    super(`[${source}] ${field === "" ? "" : `${field} `}${problem}`, options);
  }
}

/** A checkpoint that is missing, damaged or does not fit. */
export class CheckpointError extends TrainError {
  constructor(
    readonly file: string,
    problem: string,
    options?: ErrorOptions,
  ) {
    super(`[${file}] ${problem}`, options);
  }
}

/** A training step that cannot go on, such as a loss that is not finite. */
export class TrainingError extends TrainError {
  constructor(
    readonly step: number,
    problem: string,
  ) {
    super(`[step ${step}] ${problem}`);
  }
}
