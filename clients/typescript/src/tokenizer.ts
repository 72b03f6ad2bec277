import { tokens, type Count } from "./estimate.js";

/** Counts the tokens of a text for a model: an integer ≥ 0. It is called on the way of each request, so it should be quick. */
export type Tokenizer = (model: string, text: string) => number;

/** Texts above this length, in UTF-16 units, are estimated: counting 1 MB takes up to a second, in which nothing else runs. */
const LONGEST = 128 << 10;

interface Vocabulary {
  countTokens(text: string, options: object): number;
}

/** Texts may contain the spelling of a special token; it is text then. */
const asText = { disallowedSpecial: new Set<string>() };

// With catch at the import itself, bundlers know that the package may be missing.
const vocabularies = {
  o200k: () => import("gpt-tokenizer/encoding/o200k_base").catch(missing) as Promise<Vocabulary | null>,
  cl100k: () => import("gpt-tokenizer/encoding/cl100k_base").catch(missing) as Promise<Vocabulary | null>,
};
const missing = () => null;
type Name = keyof typeof vocabularies;

/** Loaded once a process; null: not yet, or the package gpt-tokenizer is not installed. */
const loaded = new Map<Name, Vocabulary | null>();

/**
 * Begins to load the vocabulary that counter would use for a model, if it has not begun. That takes the process some 0.1 s, so
 * it is to be done after a call: a grant that waits for it would come too late.
 */
export function load(option: "auto" | "none" | Tokenizer, model: string): void {
  const name = option === "auto" ? vocabularyOf(model) : undefined;
  if (name === undefined || loaded.has(name)) return;
  loaded.set(name, null);
  void vocabularies[name]().then((v) => loaded.set(name, v));
}

/** The public vocabulary of a model's name; undefined: there is none. */
export function vocabularyOf(model: string): Name | undefined {
  if (model.startsWith("text-embedding-3")) return "cl100k";
  return /^(?:gpt-|o[134](?:-|$))/.test(model) ? "o200k" : undefined;
}

/** How to count a model's texts. "auto": with its vocabulary, once that is loaded (see load); "none": by estimate alone. */
export function counter(option: "auto" | "none" | Tokenizer, model: string): { count: Count; exact: boolean } {
  if (typeof option === "function") {
    return { exact: true, count: (text) => sane(() => option(model, text), text) };
  }
  const name = option === "auto" ? vocabularyOf(model) : undefined;
  const words = name && loaded.get(name);
  if (!words) return { exact: false, count: tokens };
  return { exact: true, count: (text) => (text.length > LONGEST ? tokens(text) : sane(() => words.countTokens(text, asText), text)) };
}

function sane(count: () => number, text: string): number {
  try {
    const n = Math.ceil(count());
    return Number.isSafeInteger(n) && n >= 0 ? n : tokens(text);
  } catch {
    return tokens(text);
  }
}
