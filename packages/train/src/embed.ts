import { dirname } from "node:path";
import { setImmediate } from "node:timers/promises";
import {
  ClipTokenizer,
  type EncodeTextOptions,
  encodeTexts,
  loadClipTextModel,
  type TextFeatures,
  writeSafetensors,
} from "@md/nn";
import { openDataset } from "@md/rlbench-data";
import { scope, tensor } from "@md/tensor";
import { ConfigError } from "./errors.js";
import { checkOutFolder, makeOutFolder } from "./out-folder.js";

export interface EmbedOptions extends EncodeTextOptions {
  /** Weights of CLIP's text model; see `loadClipTextModel`. */
  textModel: string;
  /** Its vocabulary; see `readClipVocabulary`. */
  vocabulary: string;
  /** Distinct instructions. */
  texts: readonly string[];
  /** Safetensors file to write: a tensor [tokens, width] an instruction, under its text. */
  out: string;
  signal?: AbortSignal;
  /** Called with 0 once the model is loaded, then after each batch. */
  onProgress?: (done: number) => void;
}

/** What was written; null where the signal came first, and nothing was. */
export interface Embedded {
  instructions: number;
  /** The least and the most tokens of an instruction. */
  tokens: readonly [least: number, most: number];
  width: number;
}

// Enough rows to keep a core busy, few enough to stop soon.
const BATCH = 8;

/**
 * Writes the embeddings of instructions by CLIP's text model, as training reads them (`data.instructionFile`).
 *
 * @throws ConfigError for `out`; ClipError for weights, vocabulary or an instruction that does not fit
 */
export async function embedInstructions(options: EmbedOptions): Promise<Embedded | null> {
  const { textModel, vocabulary, texts, out, padding, truncate, signal, onProgress } = options;
  if (!/\.safetensors$/i.test(out)) throw new ConfigError("--out", "", `is ${out}, expected a .safetensors file`);
  checkOutFolder(dirname(out));
  const tokenizer = ClipTokenizer.fromFile(vocabulary);
  using model = loadClipTextModel(textModel);
  // All of them first, lest one that is too long waste the work on the others.
  tokenizer.tokenize(texts, { contextLength: model.contextLength, truncate });
  const features: TextFeatures[] = [];
  onProgress?.(0);
  for (let start = 0; start < texts.length; start += BATCH) {
    await setImmediate();
    if (signal?.aborted) return null;
    features.push(...encodeTexts(model, tokenizer, texts.slice(start, start + BATCH), { padding, truncate }));
    onProgress?.(features.length);
  }
  makeOutFolder(dirname(out));
  scope(() => {
    const tensors = features.map(({ tokens, data }, i) => {
      return [texts[i]!, tensor(data, { shape: [tokens, model.width] })] as const;
    });
    writeSafetensors(out, new Map(tensors), { encoder: "clip", padding: padding ?? "zero" });
  });
  const tokens = features.map((each) => each.tokens);
  return { instructions: texts.length, tokens: [Math.min(...tokens), Math.max(...tokens)], width: model.width };
}

/** The distinct instructions of a folder of demonstrations, as training would look them up. */
export async function instructionsOf(root: string): Promise<string[]> {
  const source = openDataset(root);
  const texts = new Set<string>();
  for (const ref of source.listEpisodes())
    (await source.readEpisode(ref)).instructions.texts.forEach((text) => texts.add(text));
  return [...texts];
}
