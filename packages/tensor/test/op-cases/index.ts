import type { OpCase } from "../../src/index.js";
import { elementwiseCases } from "./elementwise.js";
import { reduceCases } from "./reduce.js";
import { viewCases } from "./views.js";

/** Every op's rows; a primitive without one fails the meta-test. */
export const opCases: OpCase[] = [...elementwiseCases, ...reduceCases, ...viewCases];
