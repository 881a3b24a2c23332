import { SolverError } from "@md/diffusion";
import { SafetensorsError } from "@md/nn";
import { PickleError, TorchCheckpointError } from "@md/pickle";
import { DataError } from "@md/rlbench-data";
import { TensorError } from "@md/tensor";
import { CommanderError } from "commander";
import { ConfigError, TrainError } from "../errors.js";

/** Exit statuses of the command. */
export const exitStatus = { success: 0, failure: 1, usage: 2, bug: 70, interrupted: 130 } as const;

/**
 * What to print for an error and how to exit: the message alone where the error names what the user can mend, the whole
 * stack where it does not.
 */
export function describeFailure(error: unknown): { message: string | null; status: number } {
  // Commander has printed its own message.
  if (error instanceof CommanderError) {
    return { message: null, status: error.exitCode === 0 ? exitStatus.success : exitStatus.usage };
  }
  if (error instanceof ConfigError || error instanceof SolverError)
    return { message: `minidiff: ${error.message}`, status: exitStatus.usage };
  if (isExpected(error)) return { message: `minidiff: ${error.message}`, status: exitStatus.failure };
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { message: `minidiff: unexpected failure\n${detail}`, status: exitStatus.bug };
}

function isExpected(error: unknown): error is Error {
  return (
    error instanceof TrainError ||
    error instanceof DataError ||
    error instanceof PickleError ||
    error instanceof TensorError ||
    error instanceof SafetensorsError ||
    error instanceof TorchCheckpointError ||
    // Of the operating system: no space, no permission, …
    (error instanceof Error && "syscall" in error)
  );
}
