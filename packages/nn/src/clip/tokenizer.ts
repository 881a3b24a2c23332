import { cleanText } from "./clean-text.js";
import { ClipError } from "./error.js";
import { byteCharacters, type ClipVocabulary, END, readClipVocabulary, START, WORD_END } from "./vocabulary.js";

/** Tokens that every published CLIP takes. */
export const CLIP_CONTEXT_LENGTH = 77;

export interface TokenizeOptions {
  /** Tokens a text, start and end included. Default 77. */
  contextLength?: number;
  /** Cut longer texts, keeping the end token, instead of refusing them. Default false. */
  truncate?: boolean;
  /**
   * Id behind the end token: 0, as OpenAI's `tokenize` has it, or the end token's, as HuggingFace's tokenizer has it.
   * It changes nothing of the tokens before. Default "zero".
   */
  padding?: "zero" | "end";
}

/** Token ids of texts. */
export interface ClipTokens {
  /** [texts, contextLength] */
  ids: Int32Array;
  /** Tokens of each text, start and end included; what follows is padding. */
  lengths: number[];
}

const MAX_CHARACTERS = 4096;
const pieces = /<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+/giu;
const byteOf = new Map(byteCharacters.map((character, byte) => [character, byte]));

/**
 * CLIP's tokenizer (Radford et al., 2021; OpenAI's `simple_tokenizer.py`): byte-level byte-pair encoding of the cleaned,
 * lower-cased text, word by word.
 */
export class ClipTokenizer {
  readonly startId: number;
  readonly endId: number;
  /** The highest id, plus 1: what a model's table of embeddings must have. */
  readonly vocabularySize: number;
  readonly #tokenOf: ReadonlyMap<number, string>;
  readonly #idsOfPiece = new Map<string, readonly number[]>();

  constructor(readonly vocabulary: ClipVocabulary) {
    const { ids } = vocabulary;
    this.startId = ids.get(START)!;
    this.endId = ids.get(END)!;
    this.#tokenOf = new Map([...ids].map(([token, id]) => [id, token]));
    this.vocabularySize = [...ids.values()].reduce((highest, id) => Math.max(highest, id + 1), 0);
  }

  /** A tokenizer of a vocabulary file; see {@link readClipVocabulary}. */
  static fromFile(file: string): ClipTokenizer {
    return new ClipTokenizer(readClipVocabulary(file));
  }

  /** Ids of a text's tokens, without start and end. ClipError for a text of over 4096 characters. */
  encode(text: string): number[] {
    if (text.length > MAX_CHARACTERS)
      throw new ClipError(excerpt(text), `has ${text.length} characters, expected at most ${MAX_CHARACTERS}`);
    return (cleanText(text).match(pieces) ?? []).flatMap((piece) => this.#encodePiece(piece));
  }

  /** The text of ids, as the original gives it: a space behind each word. ClipError for an id that is no token's. */
  decode(ids: Iterable<number>): string {
    const tokens = Array.from(ids, (id) => {
      const token = this.#tokenOf.get(id);
      if (token === undefined) throw new ClipError(`id ${id}`, "is no token of the vocabulary");
      return token;
    });
    const bytes = Array.from(tokens.join(""), (character) => {
      const byte = byteOf.get(character);
      if (byte === undefined) throw new ClipError(`character ${JSON.stringify(character)}`, "stands for no byte");
      return byte;
    });
    return Buffer.from(bytes).toString("utf8").replaceAll(WORD_END, " ");
  }

  /**
   * Ids of texts with start, end and padding.
   *
   * @throws ClipError naming a text that does not fit the context, unless `truncate`
   */
  tokenize(texts: readonly string[], options: TokenizeOptions = {}): ClipTokens {
    const { contextLength = CLIP_CONTEXT_LENGTH, truncate = false, padding = "zero" } = options;
    const ids = new Int32Array(texts.length * contextLength).fill(padding === "end" ? this.endId : 0);
    const lengths = texts.map((text, i) => {
      const tokens = [this.startId, ...this.encode(text), this.endId];
      if (tokens.length > contextLength) {
        if (!truncate) {
          const problem = `has ${tokens.length} tokens, start and end included, expected at most ${contextLength}`;
          throw new ClipError(excerpt(text), problem);
        }
        tokens.splice(contextLength - 1, tokens.length - contextLength);
      }
      ids.set(tokens, i * contextLength);
      return tokens.length;
    });
    return { ids, lengths };
  }

  #encodePiece(piece: string): readonly number[] {
    let ids = this.#idsOfPiece.get(piece);
    if (!ids) {
      const special = piece === START || piece === END;
      ids = (special ? [piece] : this.#merge(piece)).map((token) => this.vocabulary.ids.get(token)!);
      this.#idsOfPiece.set(piece, ids);
    }
    return ids;
  }

  // Joins the pair of the lowest rank wherever it occurs, from left to right, until no pair has a rank.
  #merge(piece: string): string[] {
    let word = Array.from(Buffer.from(piece, "utf8"), (byte) => byteCharacters[byte]!);
    word.push(word.pop()! + WORD_END);
    for (;;) {
      let best: { first: string; second: string; rank: number } | null = null;
      for (let i = 0; i + 1 < word.length; i++) {
        const [first, second] = [word[i]!, word[i + 1]!];
        const rank = this.vocabulary.ranks.get(`${first} ${second}`);
        if (rank !== undefined && !(best && best.rank <= rank)) best = { first, second, rank };
      }
      if (!best) return word;
      const joined: string[] = [];
      for (let i = 0; i < word.length; i++) {
        if (word[i] === best.first && word[i + 1] === best.second) joined.push(best.first + word[++i]!);
        else joined.push(word[i]!);
      }
      word = joined;
    }
  }
}

const excerpt = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
