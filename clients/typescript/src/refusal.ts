import type { Wire } from "./wire.js";

/** A limit in the way, as the answer names it. */
export interface Bound {
  scope: string;
  metric: string;
  /** Seconds; undefined: a stock. */
  window?: number | undefined;
  quota: number;
  /** As a part of the effective quota. */
  utilization: number;
}

/** Why a request was refused. */
export interface Refused {
  /** "WAIT_TOO_LONG", "TOO_LARGE", … */
  reason: string;
  /** Seconds; undefined: asking again never helps. */
  retryAfter?: number | undefined;
  binding: readonly Bound[];
  message: string;
}

/** A refusal in the form in which the provider would refuse, so that the SDK raises its RateLimitError; the SDK does not retry it. */
export function refusal(wire: Wire, requestId: string, refused: Refused): Response {
  const first = refused.binding[0];
  const message = `watermaster: ${refused.message || refused.reason}${first === undefined ? "" : ` (${words(first)})`}`;
  const headers: Record<string, string> = { "x-watermaster-reason": refused.reason };
  if (refused.retryAfter !== undefined) headers["retry-after"] = String(Math.max(0, Math.ceil(refused.retryAfter)));
  if (refused.binding.length > 0) headers["x-watermaster-binding"] = refused.binding.map(line).join(", ");
  const kind = first?.metric.includes("token") ? "tokens" : "requests";
  return answer(wire, 429, requestId, headers, message, { openai: kind, code: "rate_limit_exceeded", anthropic: "rate_limit_error" });
}

function words(b: Bound): string {
  const window = b.window === undefined ? "" : ` per ${b.window}s`;
  return `${b.scope}: ${b.metric} ${b.quota}${window}, ${Math.round(b.utilization * 100)} % used`;
}

function line(b: Bound): string {
  return `${b.scope} ${b.metric} ${b.quota}${b.window === undefined ? "" : `/${b.window}s`} ${Math.round(b.utilization * 1000) / 1000}`;
}

interface Kind {
  status: number;
  openai: string;
  code: string;
  anthropic: string;
  /** What to do about it. */
  advice: string;
}

/** By gRPC's codes. */
const kinds: Record<number, Kind> = {
  3: { status: 400, openai: "invalid_request_error", code: "invalid_argument", anthropic: "invalid_request_error", advice: "mend the request or the client's options" },
  5: { status: 404, openai: "invalid_request_error", code: "not_found", anthropic: "not_found_error", advice: "add it to the service's configuration or ask for what is there" },
  7: { status: 403, openai: "invalid_request_error", code: "permission_denied", anthropic: "permission_error", advice: "use a token that is for this organization and project" },
  14: { status: 503, openai: "server_error", code: "watermaster_unavailable", anthropic: "api_error", advice: "see that the service runs at the client's address, or set when_away" },
  16: { status: 401, openai: "invalid_request_error", code: "unauthenticated", anthropic: "authentication_error", advice: "set the client's token" },
};
const internal: Kind = {
  status: 500, openai: "server_error", code: "watermaster_error", anthropic: "api_error", advice: "look into the service's log",
};
const RESOURCE_EXHAUSTED = 8;

/** An error of the service by its gRPC code, in the provider's form; see kinds. The SDK does not retry it. */
export function failure(wire: Wire, requestId: string, code: number, message: string): Response {
  if (code === RESOURCE_EXHAUSTED) {
    return refusal(wire, requestId, {
      reason: "SERVICE_BUSY", retryAfter: 1, binding: [], message: `${message || "the service protects itself"}; ask again later`,
    });
  }
  const kind = kinds[code] ?? internal;
  return answer(wire, kind.status, requestId, {}, `watermaster: ${message}; ${kind.advice}`, kind);
}

/** The request's own x-watermaster headers are wrong. */
export function malformed(wire: Wire, requestId: string, message: string): Response {
  return failure(wire, requestId, 3, message);
}

function answer(
  wire: Wire, status: number, requestId: string, headers: Record<string, string>, message: string,
  kind: { openai: string; code: string; anthropic: string },
): Response {
  const error = wire === "messages"
    ? { type: "error", error: { type: kind.anthropic, message } }
    : { error: { message, type: kind.openai, param: null, code: kind.code } };
  const out = new Headers({ "content-type": "application/json", "x-should-retry": "false" });
  for (const name in headers) out.set(name, visible(headers[name]!));
  if (requestId !== "") out.set("x-watermaster-request-id", visible(requestId));
  return new Response(JSON.stringify(error), { status, headers: out });
}

/** A value as a header may have it. */
export function visible(value: string): string {
  return value.replace(/[^\x20-\x7e]/g, "?");
}
