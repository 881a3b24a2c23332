import { readFileSync, statSync } from "node:fs";
import { Lexer, parse, YAMLError } from "yaml";
import { ConfigError } from "../errors.js";
import { presetFile, presetNames } from "../presets.js";
import type { ConfigLayer } from "./resolve.js";
import { closest } from "fastest-levenshtein";

const MAX_BYTES = 2 ** 20;
const MAX_ENTRIES = 1000;
const ENTRY_TOKENS = new Set(["[", "{", "-", "?", ":"]);

/**
 * A YAML file as a layer.
 *
 * @throws ConfigError when it cannot be read, is over 1 MiB or 1000 entries, or is no YAML
 */
export function readConfigFile(file: string): ConfigLayer {
  let content: string;
  try {
    const stat = statSync(file);
    if (!stat.isFile()) throw new ConfigError(file, "", "is no regular file");
    const { size } = stat;
    if (size > MAX_BYTES) throw new ConfigError(file, "", `has ${size} bytes, expected at most ${MAX_BYTES}`);
    content = readFileSync(file, "utf8");
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(file, "", `cannot be read: ${(error as Error).message}`);
  }
  return { source: file, values: parseYaml(content, file) };
}

/** A preset by name; {@link presetNames} lists them. */
export function readPreset(name: string): ConfigLayer {
  const known = presetNames();
  if (!known.includes(name)) {
    throw new ConfigError("preset", "", `"${name}" is unknown; did you mean ${closest(name, known)}?`);
  }
  return { ...readConfigFile(presetFile(name)), source: `preset ${name}` };
}

/**
 * An assignment to one key, such as `policy.embedDim=96`. The value is read as YAML, so numbers, lists and null are
 * what they look like.
 */
export function parseOverride(assignment: string): ConfigLayer {
  const match = /^([A-Za-z_][\w.]*)=(.*)$/s.exec(assignment);
  if (!match) throw new ConfigError("override", "", `"${assignment}" is no assignment such as policy.embedDim=96`);
  const [, path, value] = match as unknown as [string, string, string];
  const source = `override ${assignment}`;
  const nested = path.split(".").reduceRight<unknown>((inner, key) => ({ [key]: inner }), parseYaml(value, source));
  return { source, values: nested };
}

function parseYaml(content: string, source: string): unknown {
  checkEntries(content, source);
  try {
    return parse(content, { logLevel: "error" }) as unknown;
  } catch (error) {
    // A ReferenceError is how the parser refuses aliases that expand without end, a RangeError what becomes of escapes
    // beyond Unicode.
    if (!(error instanceof YAMLError || error instanceof ReferenceError || error instanceof RangeError)) throw error;
    throw new ConfigError(source, "", `is no YAML: ${error.message.split("\n")[0]}`);
  }
}

// The parser recurses: some thousand lists within lists take a second, or end the process for want of stack.
function checkEntries(content: string, source: string): void {
  let entries = 0;
  for (const token of new Lexer().lex(content))
    if (ENTRY_TOKENS.has(token) && ++entries > MAX_ENTRIES)
      throw new ConfigError(source, "", `has more than ${MAX_ENTRIES} entries`);
}
