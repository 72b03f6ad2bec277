import type { Pressure } from "./options.js";

/** Lets instanceof know a class across the builds for import and require, and copies of the package; to be called in a static block. */
export function brand(kind: { prototype: object }, name: string): void {
  const mark = Symbol.for(`watermaster.${name}`);
  Object.defineProperty(kind.prototype, mark, { value: true });
  Object.defineProperty(kind, Symbol.hasInstance, {
    value(this: unknown, value: unknown): boolean {
      if (this !== kind) return Function.prototype[Symbol.hasInstance].call(this, value); // a class that extends it
      return typeof value === "object" && value !== null && mark in value;
    },
  });
}

/** A limit that stood in the way of a refused call. */
export interface Binding {
  /** "organization", "project/NAME" or "pool/ACCOUNT/POOL". */
  scope: string;
  name: string;
  /** What it counts: "requests", "tokens", … */
  metric: string;
  /** Seconds; undefined: a stock, held from grant to release. */
  window: number | undefined;
  /** As configured, in the metric's unit. */
  quota: number;
  /** Held and reserved, as a part of the effective quota; above 1 after debts. */
  utilization: number;
}

/** What all errors of this package derive from. */
export class WatermasterError extends Error {
  static { brand(this, "WatermasterError"); }
  override readonly name: string = "WatermasterError";
}

/** The service said no; it is no fault. */
export class Rejected extends WatermasterError {
  static { brand(this, "Rejected"); }
  override readonly name = "Rejected";

  /**
   * @param reason "WAIT_TOO_LONG", "TOO_LARGE", …: the protocol's Reason without its prefix, or "LOCAL_LIMIT".
   * @param pressure what the answer told with it.
   * @param retryAfter a lower bound of the seconds after which asking again can help; undefined: never.
   */
  constructor(readonly reason: string, readonly retryAfter: number | undefined, readonly binding: readonly Binding[], message: string, readonly pressure?: Pressure) {
    super(message);
  }
}

/** No address of the service answered within the patience. */
export class Unavailable extends WatermasterError {
  static { brand(this, "Unavailable"); }
  override readonly name = "Unavailable";
}

/** The service found a mistake: an unknown name, a wrong token, a field that breaks its rule. Asking again does not help. */
export class CallError extends WatermasterError {
  static { brand(this, "CallError"); }
  override readonly name = "CallError";

  /** @param code gRPC's. */
  constructor(readonly code: number, message: string) {
    super(message);
  }
}
