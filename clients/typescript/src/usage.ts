import { amount, isObject } from "./json.js";
import type { Wire } from "./wire.js";

/** What a call used, the same for every provider; a missing amount is unknown. */
export interface Used {
  inputTokens?: number;
  outputTokens?: number;
  cachedInputTokens?: number;
  cacheWriteInputTokens?: number;
}

/**
 * Reads a provider's usage objects, one after the other: each says how much it was so far. An amount that a later one does not
 * name stays; one that is no integer ≥ 0 is unknown.
 */
export class UsageReader {
  readonly #wire: Wire;
  #seen: Record<string, unknown> | undefined;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** Takes a usage object; anything else is ignored. */
  add(usage: unknown): void {
    if (!isObject(usage)) return;
    if (this.#seen === undefined) this.#seen = { ...usage };
    else for (const key in usage) if (usage[key] !== null) this.#seen[key] = usage[key];
  }

  /** What was seen so far; undefined: nothing. */
  get used(): Used | undefined {
    const usage = this.#seen;
    if (usage === undefined) return undefined;
    switch (this.#wire) {
      case "messages":
        return messages(usage);
      case "responses":
      case "images":
        return openai(usage, "input_tokens", "output_tokens", "input_tokens_details");
      default:
        return openai(usage, "prompt_tokens", "completion_tokens", "prompt_tokens_details");
    }
  }
}

function openai(usage: Record<string, unknown>, input: string, output: string, details: string): Used | undefined {
  const part = usage[details];
  const { cached_tokens: cached, cache_write_tokens: written } = isObject(part) ? part : {};
  return some({
    inputTokens: amount(usage[input]),
    outputTokens: amount(usage[output]),
    cachedInputTokens: amount(cached ?? usage["prompt_cache_hit_tokens"]),
    cacheWriteInputTokens: amount(written),
  });
}

/** Anthropic counts what was read from and written to the cache apart from the input. */
function messages(usage: Record<string, unknown>): Used | undefined {
  const cached = usage["cache_read_input_tokens"] ?? undefined, written = usage["cache_creation_input_tokens"] ?? undefined;
  const input = amount(usage["input_tokens"]), read = amount(cached), write = amount(written);
  const known = input !== undefined && (cached === undefined || read !== undefined) && (written === undefined || write !== undefined);
  return some({
    inputTokens: known ? amount(input + (read ?? 0) + (write ?? 0)) : undefined,
    outputTokens: amount(usage["output_tokens"]),
    cachedInputTokens: read,
    cacheWriteInputTokens: write,
  });
}

function some(amounts: { [K in keyof Used]-?: number | undefined }): Used | undefined {
  const used: Used = {};
  let any = false;
  for (const key of Object.keys(amounts) as (keyof Used)[]) {
    const value = amounts[key];
    if (value === undefined) continue;
    used[key] = value;
    any = true;
  }
  return any ? used : undefined;
}
