// Byte-pair encoding in the browser: the vocabularies of GPT-2, GPT-4 and GPT-4o, cut as tiktoken cuts.
const CONTRACTION = "'(?:[sSſdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])";
const UPPER = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]";
const LOWER = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";
const SPACE = "\\p{White_Space}";
const OTHER = `[^${SPACE}\\p{L}\\p{N}]`;
const WORD = "[^\\r\\n\\p{L}\\p{N}]?";
const BLANKS = `${SPACE}+(?!\\P{White_Space})|${SPACE}+`;

export const PATTERNS = {
  gpt2: `'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?${OTHER}+|${BLANKS}`,
  cl100k: `${CONTRACTION}|${WORD}\\p{L}+|\\p{N}{1,3}| ?${OTHER}+[\\r\\n]*|${SPACE}*[\\r\\n]+|${BLANKS}`,
  o200k:
    `${WORD}${UPPER}*${LOWER}+(?:${CONTRACTION})?|${WORD}${UPPER}+${LOWER}*(?:${CONTRACTION})?` +
    `|\\p{N}{1,3}| ?${OTHER}+[\\r\\n/]*|${SPACE}*[\\r\\n]+|${BLANKS}`,
};

// Bytes are strings of characters below 256 here, so that they can be keys.
const bytesOf = (text) => String.fromCharCode(...new TextEncoder().encode(text));

export const readRanks = (file) => {
  const ranks = new Map();
  for (const line of file.split("\n")) {
    const space = line.indexOf(" ");
    if (space > 0) ranks.set(atob(line.slice(0, space)), Number(line.slice(space + 1)));
  }
  return ranks;
};

const merged = (word, ranks) => {
  const parts = [...word];
  while (parts.length > 1) {
    let best = Infinity;
    let at = -1;
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = ranks.get(parts[i] + parts[i + 1]);
      if (rank !== undefined && rank < best) [best, at] = [rank, i];
    }
    if (at < 0) break;
    parts.splice(at, 2, parts[at] + parts[at + 1]);
  }
  return parts;
};

// The tokens of a text, each as its bytes.
export const encode = (text, ranks, name) =>
  [...text.matchAll(new RegExp(PATTERNS[name], "gu"))].flatMap(([word]) => {
    const bytes = bytesOf(word);
    return ranks.has(bytes) ? [bytes] : merged(bytes, ranks);
  });

// What a reader sees of a token: its text, or its bytes where it is a part of a character.
export const shown = (bytes) => {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0)));
  } catch {
    return [...bytes].map((byte) => `\\x${byte.charCodeAt(0).toString(16).padStart(2, "0")}`).join("");
  }
};
