import { estimate, type Count } from "./estimate.js";
import { amount, isObject, parse, withMember } from "./json.js";
import { deploymentOf, wireOf, type Wire } from "./wire.js";

/** A request that draws on limits. */
export interface Metered {
  wire: Wire;
  /** The body as it was sent, and what it says. */
  text: string;
  body: Record<string, unknown>;
  /** The model asked for. */
  model: string;
  /** Upper bound of what is produced, over all choices; undefined: the caller set none. */
  maxOutputTokens: number | undefined;
  units: Record<string, number>;
  stream: boolean;
  /** Its usage would not be told, so the client has to ask for it. */
  addUsage: boolean;
}

/** The wire of a request by its method and address; undefined: it is not limited. */
export function meteredWire(method: string, url: URL): Wire | undefined {
  return method.toUpperCase() === "POST" ? wireOf(url.pathname.replace(/\/+$/, "")) : undefined;
}

/** Reads a body; undefined if it is no JSON object or names no model: the provider will say so itself. */
export function readBody(wire: Wire, url: URL, text: string): Metered | undefined {
  const body = parse(text);
  if (!isObject(body)) return undefined;
  const model = body["model"] ?? deploymentOf(url.pathname);
  if (typeof model !== "string" || model === "") return undefined;
  const stream = body["stream"] === true;
  const options = body["stream_options"];
  const told = isObject(options) && options["include_usage"] === true;
  return {
    wire,
    text,
    body,
    model,
    maxOutputTokens: maxOutput(wire, body),
    units: wire === "images" ? { images: Math.max(1, amount(body["n"]) ?? 1) } : {},
    stream,
    addUsage: stream && !told && (wire === "chat" || wire === "completions"),
  };
}

function maxOutput(wire: Wire, body: Record<string, unknown>): number | undefined {
  if (wire === "embeddings" || wire === "images") return 0;
  let most: number | undefined;
  for (const name of ["max_completion_tokens", "max_output_tokens", "max_tokens"]) {
    const value = amount(body[name]);
    if (value !== undefined) most = Math.max(most ?? 0, value);
  }
  if (most === undefined) return undefined;
  const choices = Math.max(1, amount(body["n"]) ?? 1, wire === "completions" ? (amount(body["best_of"]) ?? 1) : 1);
  return Math.min(most * choices, 1e12);
}

/** The estimate of a request's prompt; see estimate. */
export function inputOf(request: Metered, count?: Count): { tokens: number; textOnly: boolean } {
  return estimate(request.wire, request.body, count);
}

/** The body that asks for the usage of the stream, too. */
export function withUsage(text: string, body: Record<string, unknown>): string {
  const options = body["stream_options"];
  return withMember(text, "stream_options", { ...(isObject(options) ? options : {}), include_usage: true });
}
