import { Readable } from "node:stream";
import { Answer, read, rebuilt } from "./answer.js";
import { now, sleep } from "./clock.js";
import { CallError, Rejected, Unavailable } from "./error.js";
import { EventReader } from "./events.js";
import { retryAfter, sdkRetries, unsent } from "./header.js";
import type { Lease } from "./lease.js";
import type { Ask, Limiter } from "./limiter.js";
import { observe } from "./observation.js";
import type { Call, Pressure } from "./options.js";
import { beginning, passage } from "./passage.js";
import type { Ratios } from "./ratio.js";
import { failure, refusal, visible } from "./refusal.js";
import { withUsage, type Metered } from "./request.js";
import { accountsOf, follow, type Outgoing, type Reach } from "./target.js";
import { Outcome, type Observation } from "./watermaster/v1/limiter.js";
import { providersOf, type Wire } from "./wire.js";

/** Sends a request as fetch does. */
export type Send = (url: string, headers: Headers, text: string) => Promise<Response>;

/** What all requests of one limiter share. */
export interface Shared {
  limiter: Limiter;
  reach: Reach;
  /** Further attempts at most; ≥ 0. */
  retries: number;
  ratios: Ratios;
  /** What responses that may be continued counted, in tokens, by their id. */
  responses: Remembered;
}

/** The last 1,024 responses' tokens. */
export class Remembered {
  readonly #tokens = new Map<string, number>();

  set(id: string, tokens: number): void {
    this.#tokens.delete(id);
    this.#tokens.set(id, tokens);
    if (this.#tokens.size > 1024) for (const oldest of this.#tokens.keys()) return void this.#tokens.delete(oldest);
  }

  get(id: unknown): number {
    return typeof id === "string" ? (this.#tokens.get(id) ?? 0) : 0;
  }
}

/** A request on its way: what was asked, what was estimated, and what became of it. */
export interface Asked {
  request: Metered;
  url: URL;
  /** As they go to the provider but for its key; not changed. */
  headers: Headers;
  call: Call;
  requestId: string;
  estimate: { tokens: number; textOnly: boolean; exact: boolean };
  signal: AbortSignal | undefined;
  send: Send;
}

/** How long failures are waited out where the caller set no patience, in seconds, as is a service that is away. */
const PATIENCE = 30;

/** The provider's last failure: an answer, or an error of the connection. */
interface Failed {
  response?: Response;
  error?: unknown;
  /** Lets go of what of the answer was not read. */
  discard(): void;
}

/** An attempt that keeps away from an account that failed; where there is no other, the call goes back to it in time. */
interface Detour {
  around: string;
  /** By now(). */
  until: number;
}

/**
 * Takes a request through the limiter: a lease for each HTTP attempt, and its release on every way out. The answer is the
 * provider's, or a refusal in its form. It rejects as fetch does: with the signal's reason, or when the connection fails.
 */
export async function exchange(shared: Shared, asked: Asked): Promise<Response> {
  const { limiter, reach, retries } = shared;
  const { request, url, call, requestId, estimate, signal } = asked;
  const began = now();
  const deadline = call.maxWait === undefined ? undefined : began + call.maxWait;
  const patience = deadline ?? began + PATIENCE;
  const counted = sdkRetries(asked.headers);
  if (request.wire === "responses") estimate.tokens += shared.responses.get(request.body["previous_response_id"]);
  const accounts = accountsOf(reach);
  // A name that was made here is nobody else's.
  const next = (atLeast: number) => (call.requestId ? limiter.attempt(requestId, atLeast) : atLeast);
  const ask: Ask = {
    call,
    model: request.model,
    inputTokens: Math.min(1e12, shared.ratios.input(request.model, estimate.tokens, estimate.exact)),
    maxOutputTokens: request.maxOutputTokens,
    cachedInputTokens: undefined,
    units: request.units,
    requestId,
    named: Boolean(call.requestId),
    attempt: next(counted),
    accounts,
    excludeAccounts: [],
    providers: accounts.length > 0 ? [] : [...providersOf(request.wire, url.hostname, Object.keys(reach.keys).length > 0)],
  };
  let left = Math.max(0, retries - counted), failures = 0;
  let failed: Failed | undefined, detour: Detour | undefined;
  try {
    for (;; ask.attempt = next(ask.attempt + 1)) {
      let lease: Lease;
      try {
        signal?.throwIfAborted();
        lease = await limiter.ask(ask, deadline, signal);
      } catch (error) {
        signal?.throwIfAborted();
        if (failed === undefined) return refused(limiter, request.wire, requestId, error);
        // Another account is not spared for as long as the one that failed; without one the call goes back to it.
        const back: Detour | undefined = error instanceof Rejected && error.reason === "NO_TARGET" ? detour : undefined;
        if (back === undefined || back.until > patience) return handedOn(failed, retries);
        detour = undefined;
        ask.excludeAccounts = ask.excludeAccounts.filter((name) => name !== back.around);
        ask.attempt--; // it was none: nothing was granted
        await sleep(Math.max(0, back.until - now()), signal);
        continue;
      }
      detour = undefined;
      const outgoing = signal?.aborted ? undefined : outgoingOf(asked, lease, reach);
      if (outgoing === undefined || !lease.inTime()) {
        lease.release(Outcome.OUTCOME_UNSENT);
        signal?.throwIfAborted();
        if (outgoing === undefined) {
          const { account } = lease.target!;
          if (ask.excludeAccounts.includes(account) || ask.excludeAccounts.length >= 64) {
            const message = `the service grants ${account}, of which there is no key here`;
            return refused(limiter, request.wire, requestId, new Rejected("NO_TARGET", undefined, [], message));
          }
          ask.excludeAccounts.push(account);
        }
        continue;
      }
      const hide = request.addUsage && !silentOnUsage(lease);
      const text = hide ? withUsage(outgoing.text, request.body) : outgoing.text;

      const startedAfter = now() - lease.askedAt;
      let response: Response, after: number | undefined;
      failed?.discard();
      try {
        response = await asked.send(outgoing.url, outgoing.headers, text);
        if (response.status < 400) return passed(shared, asked, lease, response, hide, startedAfter);
        const { head, body, discard } = await beginning(response.body && streamOf(response.body));
        failed = { response: rebuilt(response, body, headersOf(response, lease, requestId)), discard };
        const seen = seenOf(response.status, response.headers, head);
        if (signal?.aborted) lease.release(Outcome.OUTCOME_UNSPECIFIED, undefined, seen, startedAfter);
        const advice = await lease.releaseForAdvice(Outcome.OUTCOME_UNSPECIFIED, undefined, seen, startedAfter);
        signal?.throwIfAborted();
        if (advice === undefined) after = passing(response) ? (retryAfter(response.headers, Date.now()) ?? backoff(failures)) : undefined;
        else if (advice.retry) after = advice.retryAfter ?? 0;
        if (after !== undefined && left > 0 && advice?.otherTarget && lease.target !== undefined && accounts.length !== 1) {
          detour = { around: lease.target.account, until: now() + after };
          ask.excludeAccounts.push(detour.around);
          after = 0;
        }
      } catch (error) {
        if (signal?.aborted || !unsent(error)) {
          lease.release(Outcome.OUTCOME_UNKNOWN, undefined, undefined, startedAfter);
          throw error;
        }
        lease.release(Outcome.OUTCOME_UNSENT);
        failed = { error, discard() {} };
        after = backoff(failures);
      }
      failures++;
      if (after === undefined || left-- <= 0 || now() + after > patience) return handedOn(failed, retries);
      if (after > 0) await sleep(after, signal);
    }
  } catch (error) {
    failed?.discard();
    throw error;
  }
}

/** The failure as the SDK gets it: it does not try again what was tried again already. */
function handedOn({ response, error }: Failed, retries: number): Response {
  if (response === undefined) throw error;
  if (retries > 0) response.headers.set("x-should-retry", "false");
  return response;
}

function seenOf(status: number, headers: Headers, body?: Uint8Array): Observation {
  return { number: 0, age: undefined, ...observe(status, headers, body) };
}

function outgoingOf(asked: Asked, lease: Lease, reach: Reach): Outgoing | undefined {
  const headers = new Headers(asked.headers);
  if (lease.target === undefined) return { url: asked.url.href, headers, text: asked.request.text };
  return follow(asked.request, asked.url, headers, lease.target, reach, Boolean(asked.call.route));
}

/** Mistral tells the usage of streams unasked, and refuses to be asked; without a lease nobody wants to know it. */
function silentOnUsage(lease: Lease): boolean {
  return lease.target === undefined || lease.target.provider === "mistral";
}

/** What official SDKs try again. */
function passing({ status, headers }: Response): boolean {
  return headers.get("x-should-retry") !== "false" && (status === 408 || status === 409 || status === 429 || status >= 500);
}

function backoff(failures: number): number {
  return Math.min(8, 0.5 * 2 ** failures);
}

function refused(limiter: Limiter, wire: Wire, requestId: string, error: unknown): Response {
  if (error instanceof Rejected) {
    const response = refusal(wire, requestId, error);
    tellPressure(response.headers, error.pressure ?? limiter.pressure);
    return response;
  }
  if (error instanceof Unavailable) return failure(wire, requestId, 14, error.message);
  if (error instanceof CallError) return failure(wire, requestId, error.code, error.message);
  throw error;
}

/** A good answer: its usage is read as it passes, and its lease ends with it. */
function passed(shared: Shared, asked: Asked, lease: Lease, response: Response, hide: boolean, startedAfter: number): Response {
  // What lives as long as the stream does not keep the prompt.
  const { wire, model } = asked.request;
  const { tokens, textOnly, exact } = asked.estimate;
  const events = /^text\/event-stream\b/i.test(response.headers.get("content-type") ?? "");
  const reader = events ? new EventReader(wire, hide) : new Answer(wire);
  const { status, headers } = response;
  const settle = (whole: boolean) => {
    const { used, failure } = reader;
    const usage = used && { ...used, units: {} };
    if (failure !== undefined) {
      const body = Buffer.from(JSON.stringify({ error: failure.error }));
      lease.release(Outcome.OUTCOME_UNSPECIFIED, usage, seenOf(failure.status, headers, body), startedAfter);
      return;
    }
    if (used?.inputTokens !== undefined && textOnly) {
      shared.ratios.learn(model, tokens, used.inputTokens, exact);
    }
    if (wire === "responses" && reader.id !== undefined && used !== undefined) {
      shared.responses.set(reader.id, (used.inputTokens ?? 0) + (used.outputTokens ?? 0));
    }
    const ended = whole && reader.ended;
    lease.release(
      ended ? Outcome.OUTCOME_UNSPECIFIED : Outcome.OUTCOME_UNKNOWN, usage, seenOf(status, headers), startedAfter,
    );
  };
  const told = headersOf(response, lease, asked.requestId);
  if (reader instanceof Answer) {
    const plain = read(response, told, reader, settle, asked.signal);
    if (plain !== undefined) return plain;
  }
  const { body } = response;
  if (body === null) {
    reader.finish();
    settle(true);
  }
  return rebuilt(response, body && passage(streamOf(body), reader, settle, asked.signal), told);
}

/** Other fetches give Node's own streams. */
function streamOf(body: ReadableStream<Uint8Array> | Readable): ReadableStream<Uint8Array> {
  return "getReader" in body ? body : (Readable.toWeb(body) as ReadableStream<Uint8Array>);
}

function tellPressure(headers: Headers, { level, maxToolCalls, agentProfile }: Pressure): void {
  headers.set("x-watermaster-pressure", level);
  if (maxToolCalls !== undefined) headers.set("x-watermaster-max-tool-calls", String(maxToolCalls));
  if (agentProfile !== undefined) headers.set("x-watermaster-agent-profile", visible(agentProfile));
}

/** The provider's headers, and what the grant said. fetch has undone the encoding of the body. */
function headersOf(from: Response, lease: Lease, requestId: string): Headers {
  const headers = new Headers(from.headers);
  headers.delete("content-encoding");
  headers.delete("content-length");
  headers.set("x-watermaster-request-id", visible(requestId));
  if (lease.target !== undefined) {
    headers.set("x-watermaster-account", visible(lease.target.account));
    headers.set("x-watermaster-model", visible(lease.target.model));
    headers.set("x-watermaster-waited", String(Math.round(lease.waited * 1000) / 1000));
  }
  if (lease.pressure !== undefined) tellPressure(headers, lease.pressure);
  return headers;
}
