import { DocumentReader } from "./document.js";
import { isObject, parse } from "./json.js";
import { passage, watch, type Passing, type Pending } from "./passage.js";
import { UsageReader, type Used } from "./usage.js";
import type { Wire } from "./wire.js";

/** Reads an answer that is one document, as it passes or whole. */
export class Answer implements Passing {
  readonly #usage: UsageReader;
  /** Of one that passes in pieces. */
  #document: DocumentReader | undefined;
  #whole: Record<string, unknown> | undefined;
  ended = false;
  readonly failure = undefined;

  constructor(wire: Wire) {
    this.#usage = new UsageReader(wire);
  }

  push(chunk: Uint8Array): Uint8Array[] {
    this.#document ??= new DocumentReader("usage", "id");
    this.#document.push(chunk);
    this.ended = this.#document.whole;
    return [chunk];
  }

  finish(): Uint8Array[] {
    this.ended = true;
    return [];
  }

  /** Takes what the document says, instead of its pieces. */
  take(value: unknown): void {
    if (isObject(value)) this.#whole = value;
  }

  get used(): Used | undefined {
    this.#usage.add(this.#get("usage"));
    return this.#usage.used;
  }

  get id(): string | undefined {
    const id = this.#get("id");
    return typeof id === "string" ? id : undefined;
  }

  #get(name: string): unknown {
    return this.#whole === undefined ? this.#document?.get(name) : this.#whole[name];
  }
}

const native = Response.prototype;
const state = Symbol("watermaster.answer");

interface State {
  headers: Headers;
  body: ReadableStream<Uint8Array>;
  reader: Answer;
  pending: Pending;
  /** Once the body has been asked for itself: another answer, with the body as it passes. */
  full: Response | undefined;
}

/**
 * The answer with other headers, and its end told as by passage. SDKs read a document by json() or text(): that is fetch's own,
 * since a stream in between would cost more than all else that is done about a call. Who asks for the body in another way gets it
 * through one. `settle` must not refer to the answer. undefined: it is no plain Response, or has no body.
 */
export function read(response: Response, headers: Headers, reader: Answer, settle: (whole: boolean) => void, signal: AbortSignal | undefined): Response | undefined {
  const { body } = response;
  if (Object.getPrototypeOf(response) !== native || body === null) return undefined;
  const pending = watch(response, (reason) => body.cancel(reason), settle, signal);
  const own: State = { headers, body, reader, pending, full: undefined };
  Object.defineProperty(response, state, { value: own });
  return Object.setPrototypeOf(response, prototype) as Response;
}

/** An answer with another body and other headers. */
export function rebuilt(from: Response, body: BodyInit | null, headers: Headers): Response {
  const bare = from.status === 204 || from.status === 205 || from.status === 304;
  const response = new Response(bare ? null : body, { status: from.status, statusText: from.statusText, headers });
  // A Response that is made has no address of its own.
  const { url, redirected } = from;
  return Object.defineProperties(response, { url: { value: url }, redirected: { value: redirected } });
}

function passing(response: Response): Response {
  const own = of(response);
  if (own.full === undefined) {
    own.pending.keep();
    own.full = rebuilt(response, passage(own.body, own.reader, own.pending.settle), own.headers);
  }
  return own.full;
}

/** Reads a document whole; nobody need hold the answer meanwhile. */
async function whole<T>({ pending, reader }: State, text: Promise<string>, result: (text: string) => T, value: (result: T) => unknown): Promise<T> {
  pending.keep();
  try {
    const all = await text;
    reader.finish();
    const read = result(all);
    reader.take(value(read));
    return read;
  } finally {
    pending.settle(reader.ended);
  }
}

const of = (response: Response) => (response as unknown as { [state]: State })[state];
const prototype = Object.create(native, {
  headers: { get(this: Response) { return of(this).headers; } },
  body: { get(this: Response) { return passing(this).body; } },
  bodyUsed: {
    get(this: Response) {
      const { full } = of(this);
      return full === undefined ? (Reflect.get(native, "bodyUsed", this) as boolean) : full.bodyUsed;
    },
  },
  text: {
    value(this: Response): Promise<string> {
      const own = of(this);
      return own.full?.text() ?? whole(own, native.text.call(this), (text) => text, (text) => (text.includes('"usage"') ? parse(text) : undefined));
    },
  },
  json: {
    value(this: Response): Promise<unknown> {
      const own = of(this);
      return own.full?.json() ?? whole<unknown>(own, native.text.call(this), JSON.parse, (value) => value);
    },
  },
  ...Object.fromEntries(["arrayBuffer", "blob", "bytes", "formData", "clone"].filter((name) => name in native).map((name) => [
    name, { value(this: Response) { return (passing(this) as unknown as Record<string, () => unknown>)[name]!(); } },
  ])),
}) as object;
