import * as md from "../../src/index.js";
import type { GoldenFile } from "./golden-file.js";

/** One family of paper_equations.safetensors: tensors `<family>.<id>.<name>`. */
interface Family {
  /** Inputs with gradients `grad_<name>`, then constants. */
  inputs: readonly string[];
  constants: readonly string[];
  run(tensors: readonly md.Tensor[], file: GoldenFile, id: string): md.Tensor;
}

interface MaskCase {
  id: number;
  samples: number;
  tokens: number;
  points: number;
  context: number;
}

function maskOf(file: GoldenFile, id: string): md.AttentionMask {
  const cases = JSON.parse(file.metadata.mask_cases!) as MaskCase[];
  const { samples, tokens, points, context } = cases.find((maskCase) => String(maskCase.id) === id)!;
  return md.masks.level2({ samples, tokensPerSample: tokens, conditionTokens: points + context });
}

const families: Readonly<Record<string, Family>> = {
  mask: {
    inputs: ["q", "k", "v"],
    constants: ["mask"],
    run([q, k, v, dense], file, id) {
      const out = md.maskedAttention(q!, k!, v!, { mask: maskOf(file, id) });
      const written = md.noGrad(() => md.maskedAttention(q!, k!, v!, { mask: md.masks.dense(dense!) }));
      md.compareNumbers(
        `mask.${id}: description against the written mask`,
        out.toFlatArray(),
        written.toFlatArray(),
        1e-5,
      );
      return out;
    },
  },
  rope: { inputs: ["x"], constants: ["xyz"], run: ([x, xyz]) => md.rotaryEmbedding3d(x!, xyz!) },
};

/** Ids of the cases of each family in the file, those without a check included. */
export function paperCases(file: GoldenFile): { family: string; id: string; pending: boolean }[] {
  const found = new Set(file.names.map((name) => name.split(".").slice(0, 2).join(".")));
  return [...found].map((key) => {
    const [family, id] = key.split(".") as [string, string];
    return { family, id, pending: !(family in families) };
  });
}

/** Forward to 1e-5 and gradients to 1e-4 of the golden case; throws an Error that names the first that is off. */
export function checkPaperCase(file: GoldenFile, family: string, id: string): void {
  const { inputs, constants, run } = families[family]!;
  md.scope(() => {
    const at = (name: string): md.Tensor => file.tensor(`${family}.${id}.${name}`);
    const leaves = inputs.map(at);
    for (const leaf of leaves) leaf.requiresGrad = true;
    const out = run([...leaves, ...constants.map(at)], file, id);
    const compare = (name: string, actual: md.Tensor, tolerance: number): void => {
      const expected = at(name);
      if (String(actual.shape) !== String(expected.shape)) {
        throw new Error(`${family}.${id}.${name}: shape is [${actual.shape}], expected [${expected.shape}]`);
      }
      md.compareNumbers(`${family}.${id}.${name}`, actual.toFlatArray(), expected.toFlatArray(), tolerance);
    };
    compare("out", out, 1e-5);
    out.backward({ gradient: at("grad_out") });
    leaves.forEach((leaf, i) => compare(`grad_${inputs[i]}`, leaf.grad!, 1e-4));
  });
}
