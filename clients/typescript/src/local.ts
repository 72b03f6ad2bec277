import { now, sleep } from "./clock.js";
import { Rejected } from "./error.js";
import type { Local } from "./options.js";

const MINUTE = 60;

/** A sliding minute of this process, for while the service is away. */
export class LocalLimit {
  readonly #limit: Local;
  #calls: { at: number; tokens: number }[] = [];
  #tokens = 0;

  constructor(limit: Local) {
    this.#limit = limit;
  }

  /** Goes when the call fits, at the latest at the deadline (by now()); else throws Rejected with LOCAL_LIMIT. */
  async enter(tokens: number, deadline: number, signal?: AbortSignal): Promise<void> {
    for (;;) {
      const wait = this.#wait(tokens);
      if (wait === 0) {
        this.#calls.push({ at: now(), tokens });
        this.#tokens += tokens;
        return;
      }
      if (wait === undefined || now() + wait > deadline) {
        throw new Rejected("LOCAL_LIMIT", wait, [], "the service is away and this process has used its part of the minute");
      }
      await sleep(wait, signal);
    }
  }

  /** Seconds until it may fit; undefined: never. */
  #wait(tokens: number): number | undefined {
    const { requests, tokens: most } = this.#limit;
    if (tokens > most || requests < 1) return undefined;
    const time = now();
    let gone = 0;
    while (gone < this.#calls.length && this.#calls[gone]!.at <= time - MINUTE) this.#tokens -= this.#calls[gone++]!.tokens;
    if (gone > 0) this.#calls = this.#calls.slice(gone);
    let count = this.#calls.length, used = this.#tokens;
    for (let i = 0; count >= requests || used + tokens > most; i++) {
      const call = this.#calls[i]!;
      count--;
      used -= call.tokens;
      if (count < requests && used + tokens <= most) return Math.max(0.001, call.at + MINUTE - time);
    }
    return 0;
  }
}
