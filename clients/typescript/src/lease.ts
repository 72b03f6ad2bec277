/// <reference lib="esnext.disposable" preserve="true" />
import { now } from "./clock.js";
import { observe } from "./observation.js";
import type { Pressure } from "./options.js";
import { Outcome, type Observation, type Usage } from "./watermaster/v1/limiter.js";

/** Where a grant says that the call goes. */
export interface Target {
  account: string;
  provider: string;
  /** As the provider knows it. */
  model: string;
  attributes: Readonly<Record<string, string>>;
}

/** What to do about a failure. */
export interface Advice {
  retry: boolean;
  /** Seconds; undefined: at once. */
  retryAfter: number | undefined;
  /** Another account would do better. */
  otherTarget: boolean;
}

/** How a lease ended. */
export interface End {
  outcome: Outcome;
  usage: Usage | undefined;
  observation: Observation | undefined;
  /** Seconds from the Acquire to the call; undefined: unknown. */
  startedAfter: number | undefined;
  /** When it ended, by now(). */
  at: number;
}

/** Where ends are told; see Releases. */
export interface Ledger {
  /** Tells later. It never throws. */
  add(id: string, end: End): void;
  /** Tells at once, and waits at most so many seconds for the advice. It never rejects. */
  advice(id: string, end: End, seconds: number): Promise<Advice | undefined>;
}

/** What is known of a grant. */
export interface Grant {
  /** "": the service is away and the call goes without a lease. */
  id: string;
  target: Target | undefined;
  /** When the Acquire was sent, in seconds of a clock that never goes back. */
  askedAt: number;
  /** The call must leave within so many seconds from askedAt. */
  startWithin: number;
  /** For how many seconds the service held the request. */
  waited: number;
  pressure: Pressure | undefined;
  requestId: string;
  attempt: number;
}

// A lease that nobody holds any more: the call may have run.
const dropped = new FinalizationRegistry<{ id: string; ledger: Ledger }>(({ id, ledger }) => {
  ledger.add(id, { outcome: Outcome.OUTCOME_UNKNOWN, usage: undefined, observation: undefined, startedAfter: undefined, at: now() });
});

/** The right to send one HTTP attempt. It has to be released, and is released as unknown when it is let go of. */
export class Lease implements Grant {
  readonly id: string;
  readonly target: Target | undefined;
  readonly askedAt: number;
  readonly startWithin: number;
  readonly waited: number;
  readonly pressure: Pressure | undefined;
  readonly requestId: string;
  readonly attempt: number;
  readonly #ledger: Ledger;
  #released = false;
  #startedAfter: number | undefined;
  #usage: Usage | undefined;
  #observation: Observation | undefined;

  constructor(grant: Grant, ledger: Ledger) {
    this.id = grant.id;
    this.target = grant.target;
    this.askedAt = grant.askedAt;
    this.startWithin = grant.startWithin;
    this.waited = grant.waited;
    this.pressure = grant.pressure;
    this.requestId = grant.requestId;
    this.attempt = grant.attempt;
    this.#ledger = ledger;
    if (this.id === "") this.#released = true;
    else dropped.register(this, { id: this.id, ledger }, this);
  }

  /** Whether the call may still leave. */
  inTime(): boolean {
    return this.id === "" || now() - this.askedAt < this.startWithin;
  }

  /** To be called just before the call leaves; false: it is too late, so do not send, end the lease and ask anew. */
  start(): boolean {
    if (!this.inTime()) {
      this.release(Outcome.OUTCOME_UNSENT);
      return false;
    }
    this.#startedAfter = now() - this.askedAt;
    return true;
  }

  /** Says what the call used in all. */
  used(usage: Omit<Usage, "units"> & { units?: Record<string, number> }): void {
    this.#usage = { units: {}, ...usage };
  }

  /** Says what was seen of the provider's answer: its status, headers that speak of rates, and at 400 and above the beginning of its body. */
  observe(httpStatus: number, headers: Readonly<Record<string, string>> = {}, body = ""): void {
    this.#observation = { number: 0, age: undefined, ...observe(httpStatus, Object.entries(headers), Buffer.from(body)) };
  }

  /** Ends the lease with what was said of it. `failed`: the call broke, so that without an observation its end is unknown. */
  end(failed = false): void {
    this.release(failed && this.#observation === undefined ? Outcome.OUTCOME_UNKNOWN : this.#observation ? Outcome.OUTCOME_UNSPECIFIED : Outcome.OUTCOME_SUCCEEDED,
      this.#usage, this.#observation, this.#startedAfter);
  }

  /** Ends the lease at the end of an `await using` block: as unknown, unless it was ended or its answer was told by observe or used. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.end(this.#usage === undefined);
  }

  /** Ends the lease, later and in the background. Only the first time counts; it never throws. */
  release(outcome: Outcome, usage?: Usage, observation?: Observation, startedAfter?: number): void {
    if (this.#settled()) return;
    this.#ledger.add(this.id, { outcome, usage, observation, startedAfter, at: now() });
  }

  /** Ends the lease at once and gives the service's advice; undefined if none came within so many seconds. */
  async releaseForAdvice(outcome: Outcome, usage?: Usage, observation?: Observation, startedAfter?: number, timeout = 2): Promise<Advice | undefined> {
    if (this.#settled()) return undefined;
    return this.#ledger.advice(this.id, { outcome, usage, observation, startedAfter, at: now() }, timeout);
  }

  #settled(): boolean {
    const settled = this.#released;
    this.#released = true;
    if (!settled) dropped.unregister(this);
    return settled;
  }
}
