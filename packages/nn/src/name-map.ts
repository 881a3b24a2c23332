import { TensorError, ValueError } from "@md/tensor";

/**
 * Names of ours and names of theirs: dotted, where a segment `*` stands for any one segment and `**` for one or more.
 * Both sides have the same wildcards in the same order, so a rule works both ways.
 *
 * `{ ours: "blocks.*.attention.**", theirs: "layers.*.attn.**" }`
 */
export interface NameRule {
  ours: string;
  theirs: string;
}

/** Names that a map does not take one to one. */
export class NameMapError extends TensorError {}

/** Our names of tensors and those of another implementation, by rules that hold in both directions; the first wins. */
export class NameMap {
  readonly #rules: readonly { ours: Template; theirs: Template }[];

  /** ValueError for a rule whose sides have other wildcards. */
  constructor(
    readonly name: string,
    rules: readonly NameRule[],
  ) {
    this.#rules = rules.map((rule) => {
      const [ours, theirs] = [new Template(rule.ours), new Template(rule.theirs)];
      if (String(ours.wildcards) !== String(theirs.wildcards))
        throw new ValueError(
          `[NameMap ${name}] "${rule.ours}" has the wildcards [${ours.wildcards}], "${rule.theirs}" has [${theirs.wildcards}], expected the same`,
        );
      return { ours, theirs };
    });
  }

  /** Our name for one of theirs; null where no rule fits. */
  toOurs(theirs: string): string | null {
    return this.#translate(theirs, "theirs", "ours");
  }
  /** Their name for one of ours; null where no rule fits. */
  toTheirs(ours: string): string | null {
    return this.#translate(ours, "ours", "theirs");
  }

  /**
   * Renames what is kept by name. NameMapError where two names become one, or where the other direction does not give
   * the name back.
   *
   * @returns the renamed ones, old and new name of those that changed, and the names that no rule fits
   */
  rename<T>(
    values: ReadonlyMap<string, T>,
    to: "ours" | "theirs",
  ): { values: Map<string, T>; renamed: [from: string, to: string][]; dropped: string[] } {
    const from = to === "ours" ? "theirs" : "ours";
    const result = { values: new Map<string, T>(), renamed: [] as [string, string][], dropped: [] as string[] };
    for (const [name, value] of values) {
      const translated = this.#translate(name, from, to);
      if (translated === null) {
        result.dropped.push(name);
        continue;
      }
      if (result.values.has(translated)) throw new NameMapError(`[${this.name}] two names become "${translated}"`);
      const back = this.#translate(translated, to, from);
      if (back !== name)
        throw new NameMapError(`[${this.name}] "${name}" becomes "${translated}", which goes back to "${back}"`);
      result.values.set(translated, value);
      if (translated !== name) result.renamed.push([name, translated]);
    }
    return result;
  }

  #translate(name: string, from: keyof NameRule, to: keyof NameRule): string | null {
    for (const rule of this.#rules) {
      const found = rule[from].match(name);
      if (found) return rule[to].fill(found);
    }
    return null;
  }
}

/** One side of a rule. */
class Template {
  readonly wildcards: readonly string[];
  readonly #segments: readonly string[];
  readonly #pattern: RegExp;

  constructor(text: string) {
    this.#segments = text.split(".");
    this.wildcards = this.#segments.filter(isWildcard);
    const parts = this.#segments.map((segment) => {
      if (segment === "**") return "(.+)";
      return segment === "*" ? "([^.]+)" : segment.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
    });
    this.#pattern = new RegExp(`^${parts.join("\\.")}$`, "s");
  }

  /** What the wildcards stand for in `name`; null where it does not fit. */
  match(name: string): string[] | null {
    return this.#pattern.exec(name)?.slice(1) ?? null;
  }
  fill(values: readonly string[]): string {
    let next = 0;
    return this.#segments.map((segment) => (isWildcard(segment) ? values[next++] : segment)).join(".");
  }
}

const isWildcard = (segment: string): boolean => segment === "*" || segment === "**";

const maps = new Map<string, NameMap>();

/** Makes a map known by its name. ValueError if the name is taken. */
export function registerNameMap(map: NameMap): void {
  if (maps.has(map.name)) throw new ValueError(`[registerNameMap] "${map.name}" is registered already`);
  maps.set(map.name, map);
}

registerNameMap(new NameMap("identity", [{ ours: "**", theirs: "**" }]));

/** Names of all registered maps. */
export const nameMapNames = (): string[] => [...maps.keys()];

/** A registered map; `identity` keeps every name. ValueError for an unknown one. */
export function getNameMap(name: string): NameMap {
  const map = maps.get(name);
  if (!map) throw new ValueError(`[getNameMap] unknown map "${name}", expected one of ${nameMapNames().join(", ")}`);
  return map;
}
