import { type Solver, type SolverOptions, solvers } from "@md/diffusion";
import type { OnBad } from "@md/rlbench-data";
import { type DeviceName, synchronize } from "@md/tensor";
import { device } from "../config/fields.js";
import type { ConfigLayer } from "../config/resolve.js";
import { parseOverride } from "../config/sources.js";
import type { DataSource } from "../data.js";
import { ConfigError } from "../errors.js";

/** A value of the command line that must be an integer of at least `minimum`. */
export function parseInteger(flag: string, value: string, minimum: number): number {
  const number = Number(value);
  if (value.trim() === "" || !Number.isSafeInteger(number) || number < minimum) {
    throw new ConfigError(flag, "", `is "${value}", expected an integer of at least ${minimum}`);
  }
  return number;
}

/** A value of the command line that must be a finite number. */
export function parseNumber(flag: string, value: string): number {
  const number = Number(value);
  if (value.trim() === "" || !Number.isFinite(number)) {
    throw new ConfigError(flag, "", `is "${value}", expected a number`);
  }
  return number;
}

/** The device that `--device` names, the CPU without it. DeviceError that says why there is none, before anything is read. */
export function parseDevice(value: string | undefined): DeviceName {
  if (value === undefined) return device.default;
  if (!device.accepts(value)) throw new ConfigError("--device", "", `is "${value}", expected ${device.expected}`);
  synchronize(value as DeviceName);
  return value as DeviceName;
}

/** Help of `--device`. */
export const deviceHelp = "where to compute: cpu, cuda or cuda:<index> (default: cpu)";

/** A solver's name. */
export function parseSolver(value: string): Solver {
  const solver = solvers.find((name) => name === value);
  if (solver === undefined) throw new ConfigError("--solver", "", `is "${value}", expected ${solvers.join(", ")}`);
  return solver;
}

/** Help of `--solver`. */
export const solverHelp = `${solvers.join(", ")}; as far as they fit what the policy was trained on`;

/** What `--solver`, `--steps` and `--shift` ask for, those that are given. */
export function solverOptions(flags: { solver?: string; steps?: string; shift?: string }): SolverOptions {
  return {
    ...(flags.solver !== undefined && { solver: parseSolver(flags.solver) }),
    ...(flags.steps !== undefined && { steps: parseInteger("--steps", flags.steps, 1) }),
    ...(flags.shift !== undefined && { shift: parseNumber("--shift", flags.shift) }),
  };
}

/** `--flag value` as an assignment to a key of the configuration; checked with the rest of it. */
export const flagLayer = (flag: string, key: string, value: string): ConfigLayer => ({
  ...parseOverride(`${key}=${value}`),
  source: flag,
});

/** Where demonstrations come from, of `--data`, `--task`, a selection of episodes and `--skip-bad`. */
export function dataSource(
  root: string,
  task: string | undefined,
  episodes: string | undefined,
  onBad?: OnBad,
): DataSource {
  const tasks = task?.split(",").map((name) => name.trim());
  return { root, ...(tasks && { tasks }), ...(episodes !== undefined && { episodes }), ...(onBad && { onBad }) };
}
