import { now } from "./clock.js";
import { Rejected } from "./error.js";
import type { Local } from "./options.js";

const MINUTE = 60;

/** A call's place in the minute: it goes then, by now(). */
export interface Place {
  at: number;
  tokens: number;
}

/** A sliding minute of this process, for while the service is away: who came first goes first. */
export class LocalLimit {
  readonly #limit: Local;
  /** Of the last minute and to come, by time. */
  #calls: Place[] = [];

  constructor(limit: Local) {
    this.#limit = limit;
  }

  /** The first time at which so many tokens fit; throws Rejected with LOCAL_LIMIT if that is never, or after the deadline (by now()). */
  reserve(tokens: number, deadline: number): Place {
    const time = now(), at = this.#first(tokens, time);
    if (at === undefined || at > Math.max(deadline, time)) {
      throw new Rejected("LOCAL_LIMIT", at && at - time, [], "the service is away and this process has used its part of the minute");
    }
    const place = { at, tokens };
    this.#calls.push(place);
    return place;
  }

  /** Gives a place back; those behind it do not move up. */
  cancel(place: Place): void {
    const i = this.#calls.indexOf(place);
    if (i >= 0) this.#calls.splice(i, 1);
  }

  #first(tokens: number, time: number): number | undefined {
    const { requests, tokens: most } = this.#limit;
    if (tokens > most || requests < 1) return undefined;
    let gone = 0;
    while (gone < this.#calls.length && this.#calls[gone]!.at <= time - MINUTE) gone++;
    if (gone > 0) this.#calls = this.#calls.slice(gone);
    let at = Math.max(time, this.#calls.at(-1)?.at ?? 0), count = this.#calls.length, used = 0;
    for (const call of this.#calls) used += call.tokens;
    for (const call of this.#calls) {
      if (call.at > at - MINUTE && count < requests && used + tokens <= most) break;
      at = Math.max(at, call.at + MINUTE);
      count--;
      used -= call.tokens;
    }
    return at;
  }
}
