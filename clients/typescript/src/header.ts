import { isObject } from "./json.js";

/** Headers by which a caller says how one call is to be limited; none of them reaches the provider. */
const PREFIX = "x-watermaster-";

/** What the x-watermaster headers of a request say; see Call. */
export interface CallHeaders {
  project?: string;
  priorityClass?: string;
  route?: string;
  requestId?: string;
  maxWait?: number;
  minQuality?: number;
  affinityKey?: string;
}

/** Takes the x-watermaster headers out; gives them, or undefined if there are none. */
export function strip(headers: Headers): Headers | undefined {
  let own: Headers | undefined;
  headers.forEach((value, name) => {
    if (name.startsWith(PREFIX)) (own ??= new Headers()).set(name, value);
  });
  own?.forEach((_, name) => headers.delete(name));
  return own;
}

/** Reads the x-watermaster headers. Throws a RangeError that names the header if one is malformed. */
export function callHeaders(headers: Headers): CallHeaders {
  const call: CallHeaders = {};
  const text = (name: string, most: number): string | undefined => {
    const value = headers.get(PREFIX + name)?.trim();
    if (!value) return undefined;
    if (value.length > most) throw wrong(name, value.slice(0, 40) + "…", `at most ${most} characters`);
    return value;
  };
  const set = <K extends keyof CallHeaders>(key: K, value: CallHeaders[K] | undefined) => {
    if (value !== undefined) call[key] = value;
  };
  set("project", text("project", 128));
  set("priorityClass", text("priority-class", 128));
  set("route", text("route", 128));
  set("requestId", text("request-id", 128));
  set("affinityKey", text("affinity-key", 256));
  const wait = text("max-wait", 64);
  if (wait !== undefined) {
    const s = seconds(wait);
    if (s === undefined || s > 86400) throw wrong("max-wait", wait, 'seconds ("1.5") or a duration ("500ms", "2m"), from 0 to 24h');
    call.maxWait = s;
  }
  const quality = text("min-quality", 64);
  if (quality !== undefined) {
    const q = decimal.test(quality) ? Number(quality) : NaN;
    if (!(q >= 0 && q <= 1)) throw wrong("min-quality", quality, "a number from 0 to 1");
    call.minQuality = q;
  }
  return call;
}

function wrong(name: string, value: string, want: string): RangeError {
  return new RangeError(`header ${PREFIX}${name}: ${JSON.stringify(value)} is not ${want}`);
}

const decimal = /^(?:\d+\.?\d*|\.\d+)$/;
const duration = /^(?:(?:\d+\.?\d*|\.\d+)(?:h|m|s|ms|us|µs|ns))+$/;
const units: Record<string, number> = { h: 3600, m: 60, s: 1, ms: 1e-3, us: 1e-6, µs: 1e-6, ns: 1e-9 };

function seconds(value: string): number | undefined {
  if (decimal.test(value)) return Number(value);
  if (!duration.test(value)) return undefined;
  let sum = 0;
  for (const [, n, unit] of value.matchAll(/([\d.]+)([a-zµ]+)/g)) sum += Number(n) * units[unit!]!;
  return sum;
}

/** How long a provider asks to wait, in seconds: retry-after-ms, or retry-after as seconds or a date. */
export function retryAfter(headers: Headers, now: number): number | undefined {
  const ms = headers.get("retry-after-ms");
  if (ms !== null && decimal.test(ms)) return Number(ms) / 1000;
  const value = headers.get("retry-after");
  if (value === null) return undefined;
  if (decimal.test(value)) return Number(value);
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, (date - now) / 1000);
}

/** Which attempt of the SDK's own retries this is; 0: the first. */
export function sdkRetries(headers: Headers): number {
  const value = headers.get("x-stainless-retry-count") ?? "";
  return /^\d{1,4}$/.test(value) ? Math.min(Number(value), 1000) : 0;
}

/** Whether an error of fetch says that no connection was made, so that nothing was sent. */
export function unsent(error: unknown): boolean {
  const seen = new Set<unknown>();
  const look = (e: unknown): boolean => {
    if (typeof e !== "object" || e === null || seen.has(e)) return false;
    seen.add(e);
    if (e instanceof AggregateError) return e.errors.length > 0 && e.errors.every(look);
    const { code, syscall, cause } = e as { code?: unknown; syscall?: unknown; cause?: unknown };
    if (typeof code === "string" && (unconnected.has(code) || /^(?:ERR_TLS|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO)/.test(code))) return true;
    return syscall === "connect" || syscall === "getaddrinfo" || look(cause);
  };
  return isObject(error) && look(error);
}

const unconnected = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "UND_ERR_CONNECT_TIMEOUT"]);
