import { ValueError } from "@md/native";

/** What native code knows a name by: its place in `names`. ValueError for another one. */
export function codeOf<Name extends string>(op: string, field: string, names: readonly Name[], name: Name): number {
  const code = names.indexOf(name);
  if (code < 0) throw new ValueError(`[${op}] ${field} is ${String(name)}, expected one of ${names.join(", ")}`);
  return code;
}
