export { cleanText } from "./clean-text.js";
export { ClipError } from "./error.js";
export { loadClipResNet, loadClipTextModel } from "./load.js";
export { type ClipFeatureMaps, ClipResNet, type ClipResNetSizes, normalizeClipImages } from "./resnet.js";
export { encodeTexts, type EncodeTextOptions, type TextFeatures } from "./text-encoder.js";
export { ClipTextModel, type ClipTextSizes } from "./text-model.js";
export { CLIP_CONTEXT_LENGTH, ClipTokenizer, type ClipTokens, type TokenizeOptions } from "./tokenizer.js";
export { type ClipVocabulary, readClipVocabulary } from "./vocabulary.js";
