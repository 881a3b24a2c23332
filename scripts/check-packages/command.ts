import { spawn } from "node:child_process";

export interface CommandOptions {
  cwd: string;
  env?: NodeJS.ProcessEnv;
  /** Expects the command to fail; what it printed is returned all the same. Default false. */
  fails?: boolean;
}

/** Runs a command and gives what it printed; an Error with that text where it does not end as expected. */
export function run(command: string, args: readonly string[], options: CommandOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let printed = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => (printed += text));
    }
    child.on("error", reject);
    child.on("close", (status) => {
      if ((status !== 0) === (options.fails ?? false)) resolve(printed);
      else reject(new Error(`${command} ${args.join(" ")}\nended with status ${status}:\n${printed}`));
    });
  });
}
