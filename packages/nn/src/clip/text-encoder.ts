import { noGrad, scope, tensor } from "@md/tensor";
import { ClipError } from "./error.js";
import type { ClipTextModel } from "./text-model.js";
import type { ClipTokenizer } from "./tokenizer.js";

export interface EncodeTextOptions {
  /**
   * What the rows behind a text's end token are: features of id 0 ("zero", as OpenAI's `tokenize` pads), those of
   * further end tokens ("end", as HuggingFace's tokenizer pads), or not there ("none"). Default "zero".
   */
  padding?: "zero" | "end" | "none";
  /** Cut texts that are too long. Default false. */
  truncate?: boolean;
}

/** Features of one text. */
export interface TextFeatures {
  /** The model's context length, or with padding "none" the text's own tokens, start and end included. */
  tokens: number;
  /** [tokens, width], f32. */
  data: Float32Array;
}

/**
 * Per-token features of texts, in one batch, without gradients.
 *
 * @throws ClipError for a text that does not fit the context, and where tokenizer and model have other vocabularies
 */
export function encodeTexts(
  model: ClipTextModel,
  tokenizer: ClipTokenizer,
  texts: readonly string[],
  { padding = "zero", truncate = false }: EncodeTextOptions = {},
): TextFeatures[] {
  const { contextLength, width, vocabularySize } = model;
  if (vocabularySize !== tokenizer.vocabularySize) {
    const problem = `has ${tokenizer.vocabularySize} tokens, expected the text model's ${vocabularySize}`;
    throw new ClipError("vocabulary", problem);
  }
  if (texts.length === 0) return [];
  const own = padding === "none";
  const { ids, lengths } = tokenizer.tokenize(texts, { contextLength, truncate, padding: own ? "zero" : padding });
  // A token's features do not depend on those behind it, so what nobody asked for is not computed.
  const rows = own ? Math.max(...lengths) : contextLength;
  const features = noGrad(() =>
    scope(() => {
      const all = tensor(ids, { shape: [texts.length, contextLength] });
      return model
        .forward(all.narrow(1, 0, rows).contiguous())
        .to("f32")
        .data() as Float32Array;
    }),
  );
  return texts.map((_, i) => {
    const tokens = own ? lengths[i]! : contextLength;
    return { tokens, data: features.slice(i * rows * width, (i * rows + tokens) * width) };
  });
}
