/** A place in a text: [from, to). */
interface Range {
  from: number;
  to: number;
}

const QUOTE = 0x22, BACKSLASH = 0x5c;

/** Where the string that opens at `text[from]` ends, its closing quote included. */
function stringEnd(text: string, from: number): number {
  for (let at = from + 1; ; ) {
    const quote = text.indexOf('"', at);
    if (quote < 0) return text.length;
    let slashes = 0;
    while (text.charCodeAt(quote - 1 - slashes) === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return quote + 1;
    at = quote + 1;
  }
}

const structure = /["{}[\]]/g;

/** The values of a key in the outermost object of a text that JSON.parse takes, and where its brace opens. */
function find(text: string, key: string): { open: number; values: Range[]; empty: boolean } {
  const values: Range[] = [];
  const open = text.indexOf("{");
  let at = open + 1;
  const skip = () => {
    while (/\s|,/.test(text.charAt(at))) at++;
  };
  skip();
  const empty = text.charAt(at) === "}";
  while (text.charCodeAt(at) === QUOTE) {
    const end = stringEnd(text, at);
    const name = text.slice(at, end);
    const same = name.includes("\\") ? JSON.parse(name) === key : name.length === key.length + 2 && name.startsWith(key, 1);
    at = text.indexOf(":", end) + 1;
    while (/\s/.test(text.charAt(at))) at++;
    const from = at;
    const first = text.charCodeAt(at);
    if (first === QUOTE) at = stringEnd(text, at);
    else if (first === 0x7b || first === 0x5b) {
      let depth = 0;
      do {
        structure.lastIndex = at;
        const found = structure.exec(text);
        if (found === null) return { open, values, empty };
        const c = found[0];
        at = c === '"' ? stringEnd(text, found.index) : found.index + 1;
        if (c === "{" || c === "[") depth++;
        else if (c !== '"') depth--;
      } while (depth > 0);
    } else {
      while (at < text.length && !/[\s,}]/.test(text.charAt(at))) at++;
    }
    if (same) values.push({ from, to: at });
    skip();
  }
  return { open, values, empty };
}

/**
 * Sets a key of the outermost object of a text that JSON.parse takes, and leaves everything else as it is: a body is not
 * written anew, so numbers beyond 2^53, the order and the spelling stay the caller's.
 */
export function withMember(text: string, key: string, value: unknown): string {
  const { open, values, empty } = find(text, key);
  const written = JSON.stringify(value);
  if (values.length === 0) {
    return `${text.slice(0, open + 1)}${JSON.stringify(key)}:${written}${empty ? "" : ","}${text.slice(open + 1)}`;
  }
  for (const { from, to } of values.reverse()) text = text.slice(0, from) + written + text.slice(to);
  return text;
}

/** Whether a value is an object with names: no array and not null. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value of a text, or undefined if it is no JSON. */
export function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The amount if it is an integer from 0 to 10^12, the range of the service's fields; else undefined. */
export function amount(value: unknown): number | undefined {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 1e12 ? (value as number) : undefined;
}
