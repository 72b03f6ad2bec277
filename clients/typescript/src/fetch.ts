import { randomUUID } from "node:crypto";
import { exchange, Remembered, type Send, type Shared } from "./exchange.js";
import { callHeaders, strip } from "./header.js";
import { Limiter } from "./limiter.js";
import { patienceOf, type Options } from "./options.js";
import { Ratios } from "./ratio.js";
import { malformed } from "./refusal.js";
import { inputOf, meteredWire, readBody } from "./request.js";
import { counter, load } from "./tokenizer.js";

/** A fetch whose requests to LLM providers wait for their turn; for the `fetch` option of official SDKs. */
export interface Fetch {
  (input: string | URL | Request, init?: RequestInit): Promise<Response>;
  readonly limiter: Limiter;
  /** Sends what is still to be told to the service, for at most 5 s, and closes the connections. */
  close(): Promise<void>;
}

/**
 * Wraps a fetch, by default the global one:
 *
 *     new OpenAI({ fetch: watermaster.fetch({ address: "localhost:8081", organization: "acme", project: "search" }) })
 *
 * Requests that count against a provider's limits (chat completions, completions, responses, embeddings, messages, images) get a
 * lease for each HTTP attempt; all others pass. A refusal is an answer in the provider's form with status 429, so that the SDK
 * throws its RateLimitError. With options a limiter of its own is made, which close() closes; a limiter that is given stays open
 * for its other users and has to be closed by whoever made it.
 */
export function fetch(options: Options | Limiter, inner: (input: any, init?: any) => Promise<Response> = globalThis.fetch): Fetch {
  const given = options instanceof Limiter;
  const limiter = given ? options : new Limiter(options);
  const shared = sharedOf(limiter);

  const limited = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const request = typeof input === "object" && "headers" in input ? input : undefined;
    const headers = new Headers(init?.headers ?? request?.headers);
    const own = strip(headers);
    const pass = (body?: BodyInit): Promise<Response> => {
      if (own === undefined && body === undefined) return inner(input, init);
      return inner(input, body === undefined ? { ...init, headers } : { ...init, headers, body });
    };
    const method = init?.method ?? request?.method ?? "GET";
    const url = urlOf(request?.url ?? input);
    const wire = url && meteredWire(method, url);
    if (url === undefined || wire === undefined) return pass();

    const signal = (init?.signal === undefined ? request?.signal : init.signal) ?? undefined;
    signal?.throwIfAborted();
    const source: unknown = init?.body ?? request;
    const bytes = await bytesOf(source);
    if (bytes === undefined) return pass();
    const metered = readBody(wire, url, typeof bytes === "string" ? bytes : new TextDecoder().decode(bytes));
    // What was read from a stream is gone from it.
    if (metered === undefined) return pass(bytes === source ? undefined : bytes);
    if (source instanceof Blob && source.type !== "" && !headers.has("content-type")) headers.set("content-type", source.type);

    let call;
    try {
      call = limiter.call(own === undefined ? {} : callHeaders(own));
      patienceOf(call.maxWait);
    } catch (error) {
      if (error instanceof RangeError) return malformed(wire, own?.get("x-watermaster-request-id") ?? "", error.message.replace(/^watermaster: /, ""));
      throw error;
    }
    headers.delete("content-length");
    const send: Send = (to, h, body) => inner(to, { ...initOf(request), ...init, method: "POST", headers: h, body, ...(signal && { signal }) });
    const { count, exact } = counter(shared.tokenizer, metered.model);
    const response = await exchange(shared, {
      request: metered, url, headers, call, requestId: call.requestId || randomUUID(), estimate: { ...inputOf(metered, count), exact }, signal, send,
    });
    if (!exact) load(shared.tokenizer, metered.model);
    return response;
  };
  return Object.assign(limited, {
    limiter,
    close: async () => {
      if (!given) await limiter.close();
    },
  });
}

const known = new WeakMap<Limiter, Shared & { tokenizer: Parameters<typeof counter>[0] }>();

/** What was learnt belongs to the limiter, however many fetches use it. */
function sharedOf(limiter: Limiter) {
  let shared = known.get(limiter);
  if (shared === undefined) {
    const { account, keys, retries, tokenizer } = limiter.options;
    shared = {
      limiter, reach: { account: account ?? "", keys: keys ?? {} }, retries: retries ?? 2, tokenizer: tokenizer ?? "auto", ratios: new Ratios(),
      responses: new Remembered(),
    };
    known.set(limiter, shared);
  }
  return shared;
}

function urlOf(address: unknown): URL | undefined {
  try {
    return new URL(String(address));
  } catch {
    return undefined; // the inner fetch says so
  }
}

/** A body that may be JSON, whole; undefined: it is a form, or there is none, and it was not read. */
async function bytesOf(body: unknown): Promise<string | Uint8Array<ArrayBuffer> | undefined> {
  if (typeof body === "string") return body;
  if (body instanceof ArrayBuffer) return new Uint8Array(body);
  if (ArrayBuffer.isView(body)) return new Uint8Array(body.buffer as ArrayBuffer, body.byteOffset, body.byteLength);
  if (body === null || typeof body !== "object" || body instanceof FormData || body instanceof URLSearchParams) return undefined;
  if ("arrayBuffer" in body && typeof body.arrayBuffer === "function") return new Uint8Array(await body.arrayBuffer()); // Request, Blob
  if (body instanceof ReadableStream || Symbol.asyncIterator in body) return new Uint8Array(await new Response(body as BodyInit).arrayBuffer());
  return undefined;
}

/** What a Request says besides its address, method, headers and body. */
function initOf(request: Request | undefined): RequestInit {
  if (request === undefined) return {};
  const { cache, credentials, integrity, keepalive, redirect, referrerPolicy } = request;
  return { cache, credentials, integrity, keepalive, redirect, referrerPolicy };
}
