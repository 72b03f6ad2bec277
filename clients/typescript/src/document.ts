import { parse } from "./json.js";

const QUOTE = 0x22, BACKSLASH = 0x5c, COMMA = 0x2c, COLON = 0x3a, OPEN = 0x7b, CLOSE = 0x7d, OPEN_LIST = 0x5b, CLOSE_LIST = 0x5d;

/** The longest value that is kept, in bytes. A usage object has less than a thousand. */
const MOST = 64 << 10;
/** The longest name that is compared. */
const LONGEST_NAME = 32;

/**
 * Picks members of the outermost object out of a JSON document that passes in pieces, and keeps nothing else of it: a list of
 * embeddings has tens of megabytes, its usage 40 bytes. Any bytes are taken; what is no object has no members.
 */
export class DocumentReader {
  readonly #names: ReadonlySet<string>;
  readonly #found = new Map<string, unknown>();
  #depth = 0;
  #dead = false;
  /** The object has ended. */
  whole = false;
  #inString = false;
  #escaped = false;
  /** In the outermost object the next string is a name. */
  #atName = false;
  /** The name whose value comes, if it is wanted. */
  #name: string | undefined;
  /** What is being kept: a name or a value. */
  #kept: Uint8Array[] | undefined;
  #size = 0;

  constructor(...names: string[]) {
    this.#names = new Set(names);
  }

  /** The value of a member that has passed whole; undefined if there was none. */
  get(name: string): unknown {
    return this.#found.get(name);
  }

  push(chunk: Uint8Array): void {
    if (this.#dead) return;
    const length = chunk.length;
    let from = 0; // where in the chunk what is kept begins
    let i = 0;
    while (i < length) {
      const c = chunk[i]!;
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (c === BACKSLASH) this.#escaped = true;
        else if (c === QUOTE) {
          this.#inString = false;
          if (this.#atName && this.#depth === 1) {
            const name = this.#take(chunk, from, i);
            this.#name = name !== undefined && this.#names.has(name) ? name : undefined;
            this.#atName = false;
          }
        }
      } else {
        switch (c) {
          case QUOTE:
            if (this.#depth === 0) return this.#end();
            this.#inString = true;
            if (this.#atName && this.#depth === 1) {
              this.#kept = [];
              from = i + 1;
            }
            break;
          case OPEN:
          case OPEN_LIST:
            if (this.#depth === 0) {
              if (c === OPEN_LIST) return this.#end();
              this.#atName = true;
            }
            this.#depth++;
            break;
          case CLOSE:
          case CLOSE_LIST:
            if (this.#depth === 1) {
              this.#value(chunk, from, i);
              this.whole = true;
              return this.#end();
            }
            if (this.#depth === 0) return this.#end();
            this.#depth--;
            break;
          case COMMA:
            if (this.#depth === 1) {
              this.#value(chunk, from, i);
              this.#atName = true;
            }
            break;
          case COLON:
            if (this.#depth === 1 && this.#name !== undefined && this.#kept === undefined) {
              this.#kept = [];
              from = i + 1;
            }
            break;
          default:
            // Before the object there is nothing but white space and a byte order mark.
            if (this.#depth === 0 && c > 0x20 && c !== 0xef && c !== 0xbb && c !== 0xbf) return this.#end();
        }
      }
      i++;
    }
    if (this.#kept !== undefined) this.#keep(chunk, from, length);
  }

  #keep(chunk: Uint8Array, from: number, to: number): void {
    this.#size += to - from;
    if (this.#size > (this.#name === undefined ? LONGEST_NAME : MOST)) {
      this.#kept = undefined;
      this.#name = undefined;
      this.#size = 0;
    } else this.#kept?.push(chunk.slice(from, to));
  }

  #take(chunk: Uint8Array, from: number, to: number): string | undefined {
    if (this.#kept !== undefined) this.#keep(chunk, from, to);
    const kept = this.#kept;
    this.#kept = undefined;
    this.#size = 0;
    return kept && Buffer.concat(kept).toString();
  }

  #value(chunk: Uint8Array, from: number, to: number): void {
    const name = this.#name;
    const text = this.#take(chunk, from, to);
    this.#name = undefined;
    if (name !== undefined && text !== undefined) this.#found.set(name, parse(text));
  }

  #end(): void {
    this.#dead = true;
    this.#kept = undefined;
  }
}
