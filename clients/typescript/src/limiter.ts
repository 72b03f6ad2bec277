import { randomUUID } from "node:crypto";
import { status, type ServiceError } from "@grpc/grpc-js";
import { duration, now, seconds, sleep } from "./clock.js";
import { brand, CallError, Rejected, Unavailable } from "./error.js";
import { Lease, type Grant } from "./lease.js";
import { LocalLimit, type Place } from "./local.js";
import { merged, patienceOf, type Call, type Options, type Pressure } from "./options.js";
import { Releases } from "./releases.js";
import { Renewals } from "./renewals.js";
import { away, Service } from "./service.js";
import type { Headroom } from "./watermaster/v1/monitor.js";
import { LimiterServiceClient, Outcome, PressureLevel, Reason, type AcquireRequest, type AcquireResponse, type Pressure as WirePressure } from "./watermaster/v1/limiter.js";

/** What is asked of the service for one HTTP attempt. */
export interface Ask {
  call: Call;
  /** Asked for unless call.route is set. */
  model: string;
  inputTokens: number;
  /** undefined: the model's maximum. */
  maxOutputTokens: number | undefined;
  cachedInputTokens: number | undefined;
  units: Record<string, number>;
  requestId: string;
  /** The caller chose the requestId, and may come back under it. */
  named: boolean;
  attempt: number;
  accounts: string[];
  excludeAccounts: string[];
  providers: string[];
}

/** What acquire asks for. */
export interface Want extends Call {
  /** A model by name or alias; or set route. */
  model?: string;
  /** An upper bound of what the provider will count. */
  inputTokens?: number;
  /** Over all choices; unset: the model's maximum. 0: none are produced. */
  maxOutputTokens?: number;
  cachedInputTokens?: number;
  units?: Record<string, number>;
  /** Further constraints. */
  accounts?: string[];
  excludeAccounts?: string[];
  providers?: string[];
  /** Counts the attempts of a requestId; unset: the next one of this process. */
  attempt?: number;
  signal?: AbortSignal;
}

/** How long one Acquire stays open while waiting, in seconds. */
const BLOCK = 10;
/** How much longer its answer may take. */
const ANSWER = 5;
/** How long one of several addresses has to be reached. */
const CONNECT = 2;
/** The least time between two questions, where answers come at once. */
const PAUSE = 0.05;
/** For how long a service that went away is looked for where the call has no patience of its own. */
const PATIENCE = 30;
/** How long it is looked for where calls go without it. */
const TICK = 0.01; // what timers may be early, in seconds
const SHORT = 1;
/** Requests whose attempts are remembered. */
const REMEMBERED = 10_000;

/** A connection to the service, for any number of calls at a time. */
export class Limiter {
  static { brand(this, "Limiter"); }
  readonly options: Readonly<Options>;
  readonly #service: Service;
  readonly #releases: Releases;
  readonly #renewals: Renewals;
  readonly #local: LocalLimit | undefined;
  readonly #attempts = new Map<string, number>();
  /** The service did not answer, and calls have gone without it since. */
  #gone = false;
  #pressure: Pressure = { level: "NORMAL", utilization: 0, totalUtilization: 0, waiting: 0, maxToolCalls: undefined, agentProfile: undefined };

  /** Throws a RangeError or a TypeError if an option is wrong. No connection is made yet. */
  constructor(options?: Options);
  /** @param address "host:port" of the service, or several of one installation; undefined: "localhost:8081". */
  constructor(address: string | readonly string[] | undefined, options?: Omit<Options, "address">);
  constructor(first?: Options | string | readonly string[], rest?: Omit<Options, "address">) {
    const options: Options = typeof first === "string" || isList(first) ? { ...rest, address: first } : { ...rest, ...first };
    this.options = options;
    this.#service = new Service(options);
    this.#renewals = new Renewals(this.#service);
    this.#releases = new Releases(this.#service, (id) => this.#renewals.delete(id));
    this.#local = typeof options.whenAway === "object" ? new LocalLimit(options.whenAway) : undefined;
  }

  /** The latest that any answer told. */
  get pressure(): Pressure {
    return this.#pressure;
  }

  /** Ends of leases that were dropped since too many waited while the service was away. */
  get droppedReleases(): number {
    return this.#releases.dropped;
  }

  /** Waits for the right to send one call. Rejects with Rejected, Unavailable or CallError, or with the signal's reason. The lease has to be ended. */
  acquire(want: Want): Promise<Lease>;
  /** The same as run. */
  acquire<T>(want: Want, call: (lease: Lease) => Promise<T>): Promise<T>;
  async acquire<T>(want: Want, run?: (lease: Lease) => Promise<T>): Promise<Lease | T> {
    if (run !== undefined) return this.run(want, run);
    return this.#acquire(want);
  }

  /** `requestId`: made before, for a call that goes on. */
  async #acquire(want: Want, requestId?: string, attempt = want.attempt): Promise<Lease> {
    const { model = "", inputTokens = 0, maxOutputTokens, cachedInputTokens, units = {}, accounts = [], excludeAccounts = [], providers = [], attempt: _, signal, ...given } = want;
    const call = this.call(given);
    patienceOf(call.maxWait);
    const deadline = call.maxWait === undefined ? undefined : now() + call.maxWait;
    requestId ??= call.requestId || randomUUID();
    return this.ask({
      call, model, inputTokens, maxOutputTokens, cachedInputTokens, units, requestId, named: Boolean(call.requestId), accounts, excludeAccounts, providers,
      attempt: attempt ?? (call.requestId ? this.attempt(requestId, 0) : 0),
    }, deadline, signal);
  }

  /** Acquires, runs and ends: a call that throws ends as unknown, unless what was seen of its answer was told by lease.observe. */
  async run<T>(want: Want, call: (lease: Lease) => Promise<T>): Promise<T> {
    let lease = await this.#acquire(want);
    // Through attempt(), so that a later call under the caller's name does not take a number that is used.
    while (!lease.start()) lease = await this.#acquire(want, lease.requestId, this.attempt(lease.requestId, lease.attempt + 1));
    try {
      const result = await call(lease);
      lease.end();
      return result;
    } catch (error) {
      lease.end(true);
      throw error;
    }
  }

  /** Tells what was seen of an account without a lease. */
  async report(account: string, model: string, seen: { httpStatus: number; headers?: Record<string, string>; body?: string }): Promise<void> {
    const { httpStatus, headers = {}, body = "" } = seen;
    await this.#service.call(LimiterServiceClient.prototype.report, {
      leaseId: "", organization: this.options.organization ?? "", account, model, consumption: undefined, startedAfter: undefined,
      observation: { number: 0, httpStatus, headers, body, age: undefined },
    }, 5).catch((error: unknown) => { throw errorOf(error); });
  }

  /** What is held, reserved and left of each limit: of all, or of an account, a pool or a project. Its configRevision is 0. */
  async headroom(of: { account?: string; pool?: string; project?: string } = {}): Promise<Headroom> {
    const { account = "", pool = "", project = "" } = of;
    try {
      return await this.#service.headroom({ organization: this.options.organization ?? "", account, pool, project, log: false }, 5);
    } catch (error) {
      throw errorOf(error);
    }
  }

  /** Tells what is still to be told, for at most 5 s, and closes the connections. What is not ended by then expires by itself; who asks is refused as Unavailable. */
  async close(): Promise<void> {
    await this.#releases.close(5);
    this.#renewals.close();
    this.#service.close();
  }

  /** The options of a call: what is given over those of withOptions over the limiter's. */
  call(given: Call): Call {
    return merged(this.options, given);
  }

  /** The number of the next attempt of a request that the caller named, at least so much. */
  attempt(requestId: string, atLeast: number): number {
    const attempt = Math.max(this.#attempts.get(requestId) ?? 0, atLeast);
    this.#attempts.delete(requestId);
    this.#attempts.set(requestId, attempt + 1);
    if (this.#attempts.size > REMEMBERED) for (const oldest of this.#attempts.keys()) { this.#attempts.delete(oldest); break; }
    return attempt;
  }

  /** Asks until there is a grant or a refusal. `deadline`: the end of the caller's patience, by now(); undefined: the class's. */
  async ask(ask: Ask, deadline: number | undefined, signal?: AbortSignal): Promise<Lease> {
    const began = now(), { size } = this.#service;
    const open = (this.options.whenAway ?? "closed") !== "closed";
    const request = this.#request(ask, deadline === undefined ? undefined : Math.max(0, deadline - began));
    let queued = false, tried = 0, pause = 0.1;
    let since: number | undefined; // it is away; undefined: it has answered
    let place: Place | undefined;
    const rest = (most: number) => {
      const wait = Math.min(pause, most);
      pause = Math.min(2, pause * 2);
      return sleep(wait, signal);
    };
    try {
      for (;;) {
        if (this.#service.closed) throw new Unavailable("the limiter was closed");
        // Of a service that is known to be away its health is asked, and not each call.
        if (!open || !this.#gone || !this.#service.away) {
          // Where calls may go without it, the first question is short, so that a long one is known to wait in the queue.
          const first = open && !queued, asked = now();
          const block = Math.max(0, Math.min(BLOCK, deadline === undefined ? BLOCK : deadline - asked));
          const within = first ? SHORT / size : block + ANSWER;
          request.block = duration(first ? Math.min(block, within / 2) : block);
          let askedAt: number | undefined, answer: AcquireResponse | undefined;
          try {
            answer = await this.#service.call(LimiterServiceClient.prototype.acquire, request, () => {
              askedAt = now();
              return first ? within - (askedAt - asked) : within;
            }, signal, Math.min(within, size > 1 ? CONNECT : within, Math.max(1, (deadline ?? Infinity) - asked)));
          } catch (error) {
            if (signal?.aborted) {
              if (askedAt !== undefined && !ask.named) this.#releases.takeBack(request);
              throw signal.reason;
            }
            if (!away(error)) throw errorOf(error);
            if (this.#service.closed || ++tried < size) continue;
            tried = 0;
            const time = now();
            since ??= first ? began : time;
            queued = false;
            const left = open ? (this.#gone ? 0 : since + SHORT - time) : (deadline ?? since + PATIENCE) - time;
            if (left <= 0 && !open) throw errorOf(error);
            if (left > TICK) {
              await rest(left);
              continue;
            }
          }
          if (answer !== undefined) {
            this.#gone = false;
            since = undefined;
            tried = 0;
            queued = true;
            const wait = this.#decided(ask, answer, askedAt!, deadline, signal);
            if (wait instanceof Lease) return wait;
            await sleep(wait, signal);
            continue;
          }
        }
        this.#gone = true;
        if (this.#local !== undefined) {
          place ??= this.#local.reserve(ask.inputTokens + (ask.maxOutputTokens ?? 0), deadline ?? began + PATIENCE);
          const left = place.at - now();
          if (left > 0) {
            await rest(left);
            continue;
          }
          place = undefined; // it stays
        }
        signal?.throwIfAborted();
        const time = now();
        return this.#lease({ id: "", target: undefined, askedAt: time, startWithin: Infinity, waited: time - began, pressure: undefined, requestId: ask.requestId, attempt: ask.attempt });
      }
    } finally {
      if (place !== undefined) this.#local!.cancel(place);
    }
  }

  /** A lease, or how many seconds to wait before asking again; throws what refuses. */
  #decided(ask: Ask, answer: AcquireResponse, askedAt: number, deadline: number | undefined, signal: AbortSignal | undefined): Lease | number {
    const pressure = this.#saw(answer.pressure);
    const { decision } = answer;
    if (decision?.$case === "granted") {
      const { leaseId, target, startWithin, waited, renewEvery } = decision.value;
      const lease = this.#lease({
        id: leaseId, target, askedAt, startWithin: seconds(startWithin) ?? 0, waited: seconds(waited) ?? 0, pressure, requestId: ask.requestId, attempt: ask.attempt,
      });
      if (renewEvery !== undefined) this.#renewals.add(leaseId, Math.max(0.05, seconds(renewEvery)));
      // Nobody is there to use it any more.
      if (signal?.aborted) lease.release(Outcome.OUTCOME_UNSENT);
      signal?.throwIfAborted();
      return lease;
    }
    if (decision?.$case !== "wait") throw rejection(decision?.value, pressure);
    const time = now();
    let wait = seconds(decision.value.retryAfter) ?? 0;
    if (deadline !== undefined && time > deadline) {
      throw rejection({ reason: Reason.REASON_WAIT_TOO_LONG, retryAfter: decision.value.retryAfter, binding: decision.value.binding, message: "max_wait has passed" }, pressure);
    }
    if (time - askedAt < PAUSE) wait = Math.max(wait, PAUSE);
    // The service then says no, and why.
    return deadline === undefined ? wait : Math.min(wait, Math.max(PAUSE, deadline - time));
  }

  #request(ask: Ask, maxWait: number | undefined): AcquireRequest {
    const { call } = ask;
    return {
      requestId: ask.requestId, attempt: ask.attempt, organization: this.options.organization ?? "", project: call.project ?? "",
      destination: call.route ? { $case: "route", value: call.route } : { $case: "model", value: ask.model },
      priorityClass: call.priorityClass ?? "", inputTokens: ask.inputTokens, maxOutputTokens: ask.maxOutputTokens, cachedInputTokens: ask.cachedInputTokens,
      units: ask.units, maxWait: duration(maxWait), block: undefined, leaseTtl: duration(this.options.leaseTtl ?? 30), affinityKey: call.affinityKey ?? "",
      constraints: {
        accounts: ask.accounts, excludeAccounts: ask.excludeAccounts, providers: ask.providers, capabilities: [...(call.capabilities ?? [])], minQuality: call.minQuality,
      },
      labels: { ...call.labels },
    };
  }

  #lease(grant: Grant): Lease {
    return new Lease(grant, this.#releases);
  }

  #saw(seen: WirePressure | undefined): Pressure | undefined {
    if (seen === undefined) return undefined;
    const level = (PressureLevel[seen.level] ?? "").replace("PRESSURE_LEVEL_", "");
    const pressure: Pressure = {
      level: level === "ELEVATED" || level === "HIGH" || level === "SATURATED" ? level : "NORMAL", utilization: seen.utilization, totalUtilization: seen.totalUtilization,
      waiting: seen.waiting, maxToolCalls: seen.maxToolCalls, agentProfile: seen.agentProfile,
    };
    const changed = pressure.level !== this.#pressure.level;
    this.#pressure = pressure;
    if (changed) {
      try {
        this.options.onPressure?.(pressure);
      } catch {
        // A caller's mistake is not the call's.
      }
    }
    return pressure;
  }
}

function isList(value: unknown): value is readonly string[] {
  return Array.isArray(value);
}

function rejection(value: { reason: Reason; retryAfter?: { seconds: number; nanos: number } | undefined; binding: readonly { scope: string; name: string; metric: string; window?: { seconds: number; nanos: number } | undefined; quota: number; utilization: number }[]; message: string } | undefined, pressure: Pressure | undefined): Rejected {
  if (value === undefined) return new Rejected("UNSPECIFIED", undefined, [], "the service answered what this client does not know", pressure);
  return new Rejected(
    (Reason[value.reason] ?? "UNSPECIFIED").replace("REASON_", ""), seconds(value.retryAfter), value.binding.map((b) => ({ ...b, window: seconds(b.window) })), value.message, pressure,
  );
}

function errorOf(error: unknown): Error {
  const { code, details } = error as Partial<ServiceError>;
  if (away(error)) return new Unavailable(`no address of the service answers: ${(details || String(error)).replace(/ *Resolution note:.*$/, "")}`);
  return new CallError(code ?? status.INTERNAL, details || String(error));
}
