import { isObject, parse } from "./json.js";
import { UsageReader, type Used } from "./usage.js";
import type { Wire } from "./wire.js";

/** A failure that a stream told of after its status had said that all was well. */
export interface Failure {
  /** The status that the error means. */
  status: number;
  /** The error object as the provider sent it. */
  error: Record<string, unknown>;
}

const LF = 0x0a, CR = 0x0d;
/** The byte order mark is the stream's and not its first event's. */
const MARK = new Uint8Array([0xef, 0xbb, 0xbf]);

/** The longest event that is looked into, in bytes; longer ones pass unread. */
const LONGEST = 16 << 20;

// What an event must have to be worth parsing. Inside a JSON string quotes are escaped, so that a text that speaks of
// "usage" does not match.
const matters = /"usage"\s*:\s*\{|"error"(?!\s*:\s*null)|"response\.(?:completed|incomplete|failed)"|"message_stop"|"image_generation\.completed"|^event: ?error/m;

const statuses: Record<string, number> = {
  rate_limit_error: 429,
  rate_limit_exceeded: 429,
  overloaded_error: 529,
  api_error: 500,
  server_error: 500,
  timeout_error: 500,
  invalid_request_error: 400,
};
const terminal = new Set<unknown>([
  "response.completed", "response.incomplete", "response.failed", "message_stop", "image_generation.completed",
]);

/**
 * Reads server-sent events that pass in pieces: the usage, whether the end was told, a failure. With `hide` the chunk that
 * carries the usage and no choice is withheld, since the caller did not ask for it; then only whole events are handed on,
 * else every piece at once. Any bytes are taken, in any pieces, and never change otherwise.
 */
export class EventReader {
  readonly #usage: UsageReader;
  readonly #hide: boolean;
  /** The event that has begun, but for what of it is in the present piece. */
  #held: Uint8Array[] = [];
  #size = 0;
  #atLineStart = true;
  #afterCR = false;
  /** The last event ended with a CR at the end of a piece: an LF that follows belongs to it. */
  #tail: "none" | "shown" | "hidden" = "none";
  #first = true;
  /** The end of the answer was told; nothing that counts follows. */
  ended = false;
  failure: Failure | undefined;
  /** Of the answer, where the wire has such names. */
  id: string | undefined;

  constructor(wire: Wire, hide: boolean) {
    this.#usage = new UsageReader(wire);
    this.#hide = hide;
  }

  get used(): Used | undefined {
    return this.#usage.used;
  }

  /** Takes a piece and gives what to hand on of it and of what was held. */
  push(chunk: Uint8Array): Uint8Array[] {
    const out: Uint8Array[] = [];
    let shown = 0; // from here on nothing of the chunk was handed on
    let start = 0; // of the event, in the chunk
    const length = chunk.length;
    for (let i = 0; i < length; i++) {
      const c = chunk[i]!;
      if (c === LF && this.#afterCR) {
        this.#afterCR = false;
        if (this.#tail !== "none") {
          // Only at the beginning of a piece.
          if (this.#tail === "hidden") shown = 1;
          this.#tail = "none";
          start = 1;
        }
        continue;
      }
      this.#tail = "none";
      this.#afterCR = c === CR;
      if (c !== LF && c !== CR) {
        this.#atLineStart = false;
        continue;
      }
      if (!this.#atLineStart) {
        this.#atLineStart = true;
        continue;
      }
      let end = i + 1;
      if (c === CR && end < length && chunk[end] === LF) {
        end++;
        i++;
        this.#afterCR = false;
      }
      const hidden = this.#event(this.#size > LONGEST ? undefined : this.#whole(chunk, start, end));
      if (this.#hide) {
        if (hidden) {
          if (start > shown) out.push(chunk.subarray(shown, start));
          if (hidden === "marked") out.push(MARK);
          shown = end;
        } else out.push(...this.#held);
      }
      this.#held = [];
      this.#size = 0;
      start = end;
      if (c === CR && end === length && this.#afterCR) this.#tail = hidden ? "hidden" : "shown";
    }
    const rest = chunk.subarray(start);
    if (!this.#hide) {
      if (rest.length > 0 && this.#size <= LONGEST) this.#held.push(rest.slice()); // the caller may do with its own what it likes
      this.#size += rest.length;
      if (this.#size > LONGEST) this.#held = [];
      out.push(chunk);
      return out;
    }
    this.#size += rest.length;
    if (this.#size > LONGEST) {
      // Too long to be what is hidden: from here on it passes.
      if (start > shown) out.push(chunk.subarray(shown, start));
      out.push(...this.#held, rest);
      this.#held = [];
    } else {
      if (start > shown) out.push(chunk.subarray(shown, start));
      if (rest.length > 0) this.#held.push(rest.slice());
    }
    return out;
  }

  /** The stream is over: gives what was still held. An event that was not ended counts nevertheless. */
  finish(): Uint8Array[] {
    const held = this.#held;
    this.#held = [];
    if (this.#size === 0 || this.#size > LONGEST) return [];
    this.#size = 0;
    const hidden = this.#event(join(held));
    if (hidden === "marked") return [MARK];
    return hidden || !this.#hide ? [] : held;
  }

  #whole(chunk: Uint8Array, start: number, end: number): Uint8Array {
    const last = chunk.subarray(start, end);
    return this.#held.length === 0 ? last : join([...this.#held, last]);
  }

  /** Looks into an event; not false: it is the chunk to hide, but for the byte order mark before it. */
  #event(event: Uint8Array | undefined): boolean | "marked" {
    const first = this.#first;
    this.#first = false;
    if (event === undefined) return false;
    // One byte, one character: what is looked for is ASCII. Only what matters is decoded.
    const bytes = Buffer.from(event.buffer, event.byteOffset, event.byteLength);
    const raw = bytes.toString("latin1");
    const done = raw.includes("[DONE]");
    if (!done && !matters.test(raw)) return false;
    let name = "", data = "";
    let text = bytes.toString();
    const marked = first && text.charCodeAt(0) === 0xfeff;
    if (marked) text = text.slice(1);
    for (const line of text.split(/\r\n|\n|\r/)) {
      const colon = line.indexOf(":");
      const field = colon < 0 ? line : line.slice(0, colon);
      if (field !== "data" && field !== "event") continue;
      const value = colon < 0 ? "" : line.slice(line.charAt(colon + 1) === " " ? colon + 2 : colon + 1);
      if (field === "event") name = value;
      else data += data === "" ? value : "\n" + value;
    }
    if (done && data.trim() === "[DONE]") {
      this.ended = true;
      return false;
    }
    const value = parse(data);
    if (!isObject(value)) return false;
    const type = value["type"] ?? name;
    const { response, message } = value;
    const inner = isObject(response) ? response : isObject(message) ? message : undefined;
    this.#usage.add(value["usage"]);
    this.#usage.add(inner?.["usage"]);
    if (typeof inner?.["id"] === "string") this.id = inner["id"];
    if (terminal.has(type)) this.ended = true;
    const error = isObject(value["error"]) ? value["error"] : undefined;
    if (type === "error" || name === "error") this.#fail(error ?? value);
    else if (type === "response.failed") this.#fail(isObject(inner?.["error"]) ? inner["error"] : {});
    else if (error !== undefined) this.#fail(error);
    const extra = this.#hide && isObject(value["usage"]) && Array.isArray(value["choices"]) && value["choices"].length === 0;
    return extra && (marked ? "marked" : true);
  }

  #fail(error: Record<string, unknown>): void {
    const status = [error["code"], error["type"]].map((kind) => (typeof kind === "string" ? statuses[kind] : undefined));
    this.failure ??= { status: status[0] ?? status[1] ?? 500, error };
  }
}

function join(pieces: Uint8Array[]): Uint8Array {
  return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
}
