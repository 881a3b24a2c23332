import { parseArgs } from "node:util";

export interface Options {
  suite: string | null;
  filter: RegExp;
  json: boolean;
  peers: boolean;
  help: boolean;
}

/** What the user typed that means nothing to us. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export const usage = (suites: readonly string[]): string => `npm run bench [-- OPTIONS]

  --suite NAME   one suite alone: ${suites.join(", ")}
  --filter RE    cases alone whose name matches this regular expression
  --peers        measure the peers that are here in turn with us; without it, us alone
  --json         JSON lines instead of tables
  --help         this text

npm run bench:peers:install installs the peers in JavaScript. Charts are in benchmarks/report.html afterwards.
`;

/** UsageError for an unknown flag or suite, or a filter that is no regular expression. */
export function parseOptions(args: readonly string[], suites: readonly string[]): Options {
  const values = parse(args);
  const { suite = null, filter = "", json = false, peers = false, help = false } = values;
  if (suite !== null && !suites.includes(suite))
    throw new UsageError(`--suite is "${suite}", expected one of ${suites.join(", ")}`);
  try {
    return { suite, filter: new RegExp(filter), json, peers, help };
  } catch (error) {
    throw new UsageError(`--filter: ${(error as Error).message}`);
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        suite: { type: "string" },
        filter: { type: "string" },
        json: { type: "boolean" },
        peers: { type: "boolean" },
        help: { type: "boolean" },
      },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
