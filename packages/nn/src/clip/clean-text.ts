import { decodeHTML } from "entities/decode";

const ligatures: Readonly<Record<string, string>> = {
  "\u0132": "IJ",
  "\u0133": "ij",
  "\u0149": "\u02bcn",
  "\u01f1": "DZ",
  "\u01f2": "Dz",
  "\u01f3": "dz",
  "\u01c4": "D\u017d",
  "\u01c5": "D\u017e",
  "\u01c6": "d\u017e",
  "\u01c7": "LJ",
  "\u01c8": "Lj",
  "\u01c9": "lj",
  "\u01ca": "NJ",
  "\u01cb": "Nj",
  "\u01cc": "nj",
  "\ufb00": "ff",
  "\ufb01": "fi",
  "\ufb02": "fl",
  "\ufb03": "ffi",
  "\ufb04": "ffl",
  "\ufb05": "\u017ft",
  "\ufb06": "st",
};
const anyLigature = new RegExp(`[${Object.keys(ligatures).join("")}]`, "g");

/**
 * A text as CLIP's tokenizer sees it: characters made plain, HTML entities decoded twice, runs of white space become one
 * space, ends trimmed, lower case. Idempotent but for entities within entities.
 *
 * The original makes characters plain by ftfy. Of its steps these are here: quotation marks uncurled, Latin ligatures
 * taken apart, full-width characters narrowed, control characters dropped, Unicode normal form C. Not here is the guess
 * at text that was decoded in the wrong encoding.
 */
export function cleanText(text: string): string {
  const plain = text
    .replace(anyLigature, (ligature) => ligatures[ligature]!)
    .replace(/[\u3000\uff01-\uffef]/g, (wide) => wide.normalize("NFKC"))
    .replace(/[\u02bc\u2018-\u201b]/g, "'")
    .replace(/[\u201c-\u201f]/g, '"')
    .replace(/(?!\s)\p{Cc}|[\u206a-\u206f\ufeff\ufff9-\ufffb]/gu, "")
    .normalize("NFC");
  return decodeHTML(decodeHTML(plain)).replace(/\s+/g, " ").trim().toLowerCase();
}
