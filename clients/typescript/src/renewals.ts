import { now } from "./clock.js";
import type { Service } from "./service.js";
import { LimiterServiceClient, type RenewRequest, type RenewResponse } from "./watermaster/v1/limiter.js";

/** Leases in one Renew. */
const BATCH = 256;

/** Keeps open leases in force. It knows their names alone, so that a lease that is let go of can be collected. */
export class Renewals {
  readonly #service: Service;
  readonly #open = new Map<string, { every: number; due: number }>();
  #timer: NodeJS.Timeout | undefined;
  #at = Infinity;

  constructor(service: Service) {
    this.#service = service;
  }

  /** Renews a lease every so many seconds. */
  add(id: string, every: number): void {
    this.#open.set(id, { every, due: now() + every });
    this.#arm(now() + every);
  }

  delete(id: string): void {
    this.#open.delete(id);
  }

  close(): void {
    this.#open.clear();
    clearTimeout(this.#timer);
  }

  #arm(at: number): void {
    if (at >= this.#at) return;
    clearTimeout(this.#timer);
    this.#at = at;
    this.#timer = setTimeout(() => this.#renew(), Math.max(0, at - now()) * 1000);
    this.#timer.unref();
  }

  #renew(): void {
    this.#at = Infinity;
    const time = now();
    const due: string[] = [];
    let next = Infinity;
    for (const [id, lease] of this.#open) {
      // Those that are due soon go along.
      if (lease.due <= time + Math.min(1, lease.every / 4)) {
        due.push(id);
        lease.due = time + lease.every;
      }
      next = Math.min(next, lease.due);
    }
    for (let i = 0; i < due.length; i += BATCH) void this.#send(due.slice(i, i + BATCH));
    if (next < Infinity) this.#arm(next);
  }

  async #send(leaseIds: string[]): Promise<void> {
    try {
      const { renewals } = await this.#service.call<RenewRequest, RenewResponse>(LimiterServiceClient.prototype.renew, { leaseIds }, 5);
      for (const { leaseId, gone } of renewals) if (gone) this.#open.delete(leaseId);
    } catch {
      // The next renewal is another try; a lease outlives several that fail.
    }
  }
}
