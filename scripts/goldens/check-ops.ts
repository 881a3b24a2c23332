import { add, type DeviceName, mul, scope, sum, type Tensor, transpose } from "@md/tensor";
import type { GoldenOps } from "../../packages/tensor/test/goldens/table.js";
import { compare, FORWARD, GRADIENT } from "./compare.js";
import { type GoldenFile, listsObjectsWith, load, metadata } from "./golden-file.js";
import { emptyReport, type GoldenReport, runCase } from "./report.js";

interface OpsCase {
  id: number | string;
  op: string;
  inputs: number;
  outputs: number;
  attrs: Record<string, unknown>;
  /** By input: a view that it is seen through. */
  views: Record<string, [name: string, ...args: number[]]>;
  grad: boolean;
}

/** Whether the file is a table of ops, forward and gradient. */
export const isOps = (golden: GoldenFile): boolean => listsObjectsWith(golden, "cases", "op");

/** Runs every case of the file on `device` through the op that `ops` has under its name, forward and gradient. */
export function checkOps(golden: GoldenFile, ops: GoldenOps, device: DeviceName = "cpu"): GoldenReport {
  const report = emptyReport();
  for (const opCase of metadata(golden, "cases") as OpsCase[]) {
    runCase(report, `${opCase.id} ${opCase.op}`, () => scope(() => checkOp(golden, opCase, ops, device)));
  }
  return report;
}

function checkOp(golden: GoldenFile, opCase: OpsCase, ops: GoldenOps, device: DeviceName): void {
  const { id, op, inputs, outputs, attrs, views, grad } = opCase;
  const run = ops[op];
  if (!run) throw new Error(`no op has this name`);
  const leaves = Array.from({ length: inputs }, (_, j) => {
    const leaf = load(golden, `${id}.in${j}`, undefined, device);
    if (grad && golden.arrays.has(`${id}.grad_in${j}`)) leaf.requiresGrad = true;
    return leaf;
  });
  const operands = leaves.map((leaf, j) => throughView(leaf, views[j]));
  const given = Object.fromEntries(Object.entries(attrs).filter(([, value]) => value !== null));
  const results = [run(operands, given)].flat() as Tensor[];
  if (results.length !== outputs) throw new Error(`found ${results.length} outputs, expected ${outputs}`);
  results.forEach((result, k) => compare(golden, `${id}.out${k}`, result, FORWARD));
  if (!grad) return;
  weightedSum(golden, id, results).backward();
  const wanted = leaves.flatMap((leaf, j) => (leaf.requiresGrad ? [[leaf, `${id}.grad_in${j}`] as const] : []));
  if (wanted.length === 0) throw new Error(`the case has gradients, but no tensor "${id}.grad_in…"`);
  for (const [leaf, name] of wanted) {
    if (!leaf.grad) throw new Error(`${name}: the op gave no gradient`);
    compare(golden, name, leaf.grad, GRADIENT);
  }
}

function throughView(x: Tensor, view: [name: string, ...args: number[]] | undefined): Tensor {
  if (!view) return x;
  const [name, a, b] = view;
  if (name !== "transpose") throw new Error(`unknown view "${name}"`);
  return transpose(x, a, b);
}

// The scalar whose gradients the file has: sum(out · grad_out) over all outputs with a grad_out.
function weightedSum(golden: GoldenFile, id: OpsCase["id"], results: readonly Tensor[]): Tensor {
  const terms = results.flatMap((result, k) => {
    const name = `${id}.grad_out${k}`;
    return golden.arrays.has(name) ? [sum(mul(result, load(golden, name, undefined, result.device)))] : [];
  });
  if (terms.length === 0) throw new Error(`the case has gradients, but no tensor "${id}.grad_out…"`);
  return terms.reduce(add);
}
