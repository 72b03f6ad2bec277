import { isObject, parse } from "./json.js";

/** What the service is told of a provider's answer: never a prompt, never a key. */
export interface Seen {
  httpStatus: number;
  headers: Record<string, string>;
  body: string;
}

const rates = [
  "x-ratelimit", "ratelimit", "anthropic-ratelimit", "anthropic-priority", "anthropic-fast", "x-tokenlimit", "retry-after",
  "x-ms-", "x-should-retry",
];
const HEADERS = 64, VALUE = 1024, BODY = 4096;

/** The headers that speak of rates, by names in lower case: at most 64, values cut at 1,024 characters. */
export function rateHeaders(headers: Iterable<readonly [string, string]>): Record<string, string> {
  const out: Record<string, string> = {};
  let count = 0;
  for (const [name, value] of headers) {
    const lower = name.toLowerCase();
    if (!rates.some((prefix) => lower.startsWith(prefix)) || lower.length > 128) continue;
    if (!(lower in out) && ++count > HEADERS) break;
    out[lower] = value.slice(0, VALUE);
  }
  return out;
}

/** Below 400 a body says nothing to the service. Messages of 4xx may quote the prompt or the key, so only their class is told. */
export function observe(status: number, headers: Iterable<readonly [string, string]>, body?: Uint8Array): Seen {
  return { httpStatus: status, headers: rateHeaders(headers), body: body === undefined ? "" : errorBody(status, body) };
}

function errorBody(status: number, body: Uint8Array): string {
  if (status < 400) return "";
  if (status === 402 || status === 413 || status === 429 || status >= 500) return beginning(body);
  const value = parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString());
  const error = isObject(value) ? value["error"] : undefined;
  if (!isObject(error)) return "";
  const kept: Record<string, string> = {};
  for (const key of ["type", "code"]) if (typeof error[key] === "string") kept[key] = error[key].slice(0, 256);
  return JSON.stringify({ error: kept });
}

/** The first 4,096 bytes, cut at a character. */
function beginning(body: Uint8Array): string {
  let to = Math.min(body.length, BODY);
  if (to < body.length) while (to > 0 && (body[to]! & 0xc0) === 0x80) to--;
  const text = Buffer.from(body.buffer, body.byteOffset, to).toString();
  // What is no UTF-8 becomes three bytes a piece.
  return Buffer.byteLength(text) <= BODY ? text : text.slice(0, BODY / 3);
}
