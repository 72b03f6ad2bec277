import { duration, now, seconds, sleep } from "./clock.js";
import type { Advice, End, Ledger } from "./lease.js";
import { away, type Service } from "./service.js";
import { LimiterServiceClient, Outcome, type AcquireRequest, type AcquireResponse, type ReleaseRequest, type ReleaseResponse } from "./watermaster/v1/limiter.js";

/** Ends that wait while the service is away; beyond that the oldest are dropped, and their leases expire. */
const MOST = 10_000;
/** For how many seconds without an answer a process that could end stays to tell; after that the leases expire. */
const STAY = 5;
/** Releases in flight at a time. */
const WIDTH = 32;

interface Entry {
  /** undefined: it may have been granted under the key. */
  id: string | undefined;
  key?: AcquireRequest;
  end: End;
}

/** Tells the service how leases ended, in the background and as often as it takes. */
export class Releases implements Ledger {
  readonly #service: Service;
  readonly #ended: (id: string) => void;
  #queue: Entry[] = [];
  #running = 0;
  #pausing = false;
  #closed = false;
  #pause = 0.1;
  /** When the service was first found to be away; undefined: it is not. */
  #since: number | undefined;
  #idle: (() => void)[] = [];
  /** Ends that were dropped because too many waited. */
  dropped = 0;

  /** `ended` is told of each lease that ends. */
  constructor(service: Service, ended: (id: string) => void) {
    this.#service = service;
    this.#ended = ended;
  }

  add(id: string, end: End): void {
    this.#ended(id);
    this.#keep({ id, end });
    this.#run();
  }

  /**
   * Gives back what an Acquire may have been granted just as its caller went: asked once more, the key tells. It is not for keys
   * under which the caller may come back.
   */
  takeBack(key: AcquireRequest): void {
    if (this.#pausing) return; // there is nobody to ask
    const zero = duration(0);
    const end: End = { outcome: Outcome.OUTCOME_UNSENT, usage: undefined, observation: undefined, startedAfter: undefined, at: now() };
    this.#keep({ id: undefined, key: { ...key, block: zero, maxWait: zero }, end });
    this.#run();
  }

  async advice(id: string, end: End, within: number): Promise<Advice | undefined> {
    this.#ended(id);
    try {
      const { advice } = await this.#send({ id, end }, within);
      return advice && { retry: advice.retry, retryAfter: seconds(advice.retryAfter), otherTarget: advice.otherTarget };
    } catch (error) {
      if (away(error)) {
        this.#keep({ id, end });
        this.#run();
      }
      return undefined;
    }
  }

  /** Waits until all is told, for at most so many seconds; what is left, and what comes later, is dropped. */
  async close(within: number): Promise<void> {
    if (this.#queue.length > 0 || this.#running > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, within * 1000);
        this.#idle.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    this.#closed = true;
    this.dropped += this.#queue.length;
    this.#queue = [];
  }

  #keep(entry: Entry): void {
    if (this.#closed) return void this.dropped++;
    if (this.#queue.length >= MOST) {
      this.#queue.shift();
      this.dropped++;
    }
    this.#queue.push(entry);
  }

  #run(): void {
    while (!this.#pausing && this.#running < WIDTH) {
      const entry = this.#queue.shift();
      if (entry === undefined) break;
      this.#running++;
      void this.#deliver(entry);
    }
    if (this.#queue.length === 0 && this.#running === 0) {
      for (const resolve of this.#idle) resolve();
      this.#idle = [];
    }
  }

  async #deliver(entry: Entry): Promise<void> {
    try {
      if (entry.id === undefined) await this.#find(entry);
      if (entry.id !== undefined) await this.#send(entry, 10);
      this.#pause = 0.1;
      this.#since = undefined;
    } catch (error) {
      // Whatever else it says, saying it again does not help.
      if (away(error)) {
        if (entry.id !== undefined) this.#keep(entry);
        void this.#rest();
      }
    }
    this.#running--;
    this.#run();
  }

  async #rest(): Promise<void> {
    if (this.#pausing || this.#closed) return;
    this.#pausing = true;
    this.#since ??= now();
    await sleep(this.#pause, undefined, now() - this.#since > STAY);
    this.#pause = Math.min(5, this.#pause * 2);
    this.#pausing = false;
    this.#run();
  }

  async #find(entry: Entry): Promise<void> {
    const { decision } = await this.#service.call<AcquireRequest, AcquireResponse>(LimiterServiceClient.prototype.acquire, entry.key!, 5);
    if (decision?.$case === "granted") entry.id = decision.value.leaseId;
  }

  #send({ id, end }: Entry, within: number): Promise<ReleaseResponse> {
    const age = now() - end.at;
    const observation = end.observation && age > 0.05 ? { ...end.observation, age: duration(Math.min(age, 86400)) } : end.observation;
    const request: ReleaseRequest = {
      leaseId: id!, outcome: end.outcome, observation, startedAfter: duration(end.startedAfter),
      consumption: end.usage && { $case: "usage", value: end.usage },
    };
    return this.#service.call(LimiterServiceClient.prototype.release, request, within);
  }
}
