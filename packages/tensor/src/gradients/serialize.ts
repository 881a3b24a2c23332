import type { SerializeAttrs } from "../ops/serialize.js";

export const serializeRules: { [P in keyof SerializeAttrs]: "nondiff" } = { serialize: "nondiff" };
