export { cleanText } from "./clean-text.js";
export { ClipError } from "./error.js";
export { CLIP_CONTEXT_LENGTH, ClipTokenizer, type ClipTokens, type TokenizeOptions } from "./tokenizer.js";
export { type ClipVocabulary, readClipVocabulary } from "./vocabulary.js";
