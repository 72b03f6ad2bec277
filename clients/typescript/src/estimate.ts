import { isObject } from "./json.js";
import type { Wire } from "./wire.js";

/** What a request's prompt is thought to count, before the ratio of its model. */
export interface Estimate {
  /** ≥ 0. */
  tokens: number;
  /** No picture, sound or file is in it: what the provider counts may be compared with it. */
  textOnly: boolean;
}

/** Counts the tokens of a text; ≥ 0. */
export type Count = (text: string) => number;

const SYMBOL = 1, WHITE = 2;
const kinds = new Uint8Array(128);
for (const c of "0123456789{}[]\":,;=<>()/\\+_|#$%&*@~^") kinds[c.charCodeAt(0)] = SYMBOL;
for (const c of " \t\n\r") kinds[c.charCodeAt(0)] = WHITE;

/** How many bytes a text has in UTF-8; a half of a surrogate pair is written as U+FFFD. */
export function bytes(text: string): number {
  return Buffer.byteLength(text, "utf8");
}

/**
 * The tokens of a text without its vocabulary: 4 ASCII bytes each, 2 in numbers, JSON and base64, 3 bytes of anything else.
 * It errs on English text by −15 to +18 %, and by less than half on the rest; the ratio corrects what is left.
 */
export function tokens(text: string): number {
  let ascii = 0, symbols = 0, white = 0;
  const length = text.length;
  for (let i = 0; i < length; i++) {
    const c = text.charCodeAt(i);
    if (c < 0x80) {
      ascii++;
      const kind = kinds[c];
      if (kind === SYMBOL) symbols++;
      else if (kind === WHITE) white++;
    }
  }
  const other = ascii === length ? 0 : bytes(text) - ascii;
  const heavy = symbols * 4 >= ascii || (ascii >= 64 && white * 32 < ascii);
  return Math.ceil(ascii / (heavy ? 2 : 4)) + Math.ceil(other / 3);
}

const MESSAGE = 4, IMAGE = 1600, FILE = 1500;

/** Keys whose values are no part of the prompt. */
const silent = new Set([
  "id", "type", "role", "status", "tool_call_id", "call_id", "tool_use_id", "cache_control", "signature", "encrypted_content",
]);
const images = new Set<unknown>(["image_url", "input_image", "image"]);
const files = new Set<unknown>(["input_audio", "file", "input_file", "document"]);

interface Fields {
  /** Those that are walked; an object directly in their array is a message. */
  prompt: readonly string[];
  /** Those that the provider writes into the prompt in a form of its own. */
  schema: readonly string[];
}

const fields: Record<Wire, Fields> = {
  chat: { prompt: ["messages", "prediction"], schema: ["tools", "functions", "response_format"] },
  completions: { prompt: ["prompt", "suffix"], schema: [] },
  responses: { prompt: ["input", "instructions"], schema: ["tools", "text"] },
  messages: { prompt: ["system", "messages"], schema: ["tools", "output_config"] },
  embeddings: { prompt: ["input"], schema: [] },
  images: { prompt: ["prompt"], schema: [] },
};

/** Estimates the prompt of a request's body. `count` counts a text; see tokens. */
export function estimate(wire: Wire, body: Record<string, unknown>, count: Count = tokens): Estimate {
  let textOnly = true;
  const media = (value: number) => {
    textOnly = false;
    return value;
  };
  // Bodies may be nested as deep as JSON.parse takes them, so what is still to be walked is kept here and not on the stack.
  const walk = (root: unknown): number => {
    let sum = 0;
    const open: unknown[] = [root];
    while (open.length > 0) {
      const value = open.pop();
      if (typeof value === "string") sum += count(value);
      else if (typeof value === "number") sum++;
      else if (Array.isArray(value)) for (const v of value) open.push(v);
      else if (isObject(value)) {
        const type = value["type"];
        if (images.has(type)) sum += media(IMAGE);
        else if (files.has(type) && !(type === "document" && isText(value))) {
          sum += media(Math.max(FILE, Math.ceil(longest(value) / 8)));
        } else for (const key in value) if (!silent.has(key)) open.push(value[key]);
      }
    }
    return sum;
  };
  let sum = 0;
  for (const name of fields[wire].prompt) {
    const value = body[name];
    if (value === undefined) continue;
    sum += walk(value);
    if ((name === "messages" || name === "input") && Array.isArray(value)) {
      for (const v of value) if (isObject(v)) sum += MESSAGE;
    }
  }
  for (const name of fields[wire].schema) {
    const value = body[name];
    if (value !== undefined) sum += Math.ceil(schema(value) / 3);
  }
  return { tokens: sum, textOnly };
}

function isText(document: Record<string, unknown>): boolean {
  const source = document["source"];
  return isObject(source) && (source["type"] === "text" || source["type"] === "content");
}

function longest(root: unknown): number {
  let most = 0;
  const open: unknown[] = [root];
  while (open.length > 0) {
    const value = open.pop();
    if (typeof value === "string") most = Math.max(most, bytes(value));
    else if (typeof value === "object" && value !== null) for (const v of Object.values(value)) open.push(v);
  }
  return most;
}

function schema(root: unknown): number {
  let sum = 0;
  const open: unknown[] = [root];
  while (open.length > 0) {
    const value = open.pop();
    if (typeof value === "string") sum += bytes(value);
    else if (typeof value === "number") sum += 4;
    else if (Array.isArray(value)) for (const v of value) open.push(v);
    else if (isObject(value)) {
      for (const key in value) {
        sum += bytes(key) + 4;
        open.push(value[key]);
      }
    }
  }
  return sum;
}
