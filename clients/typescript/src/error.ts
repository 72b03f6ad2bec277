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
  override readonly name: string = "WatermasterError";
}

/** The service said no; it is no fault. */
export class Rejected extends WatermasterError {
  override readonly name = "Rejected";

  /**
   * @param reason "WAIT_TOO_LONG", "TOO_LARGE", …: the protocol's Reason without its prefix, or "LOCAL_LIMIT".
   * @param retryAfter a lower bound of the seconds after which asking again can help; undefined: never.
   */
  constructor(readonly reason: string, readonly retryAfter: number | undefined, readonly binding: readonly Binding[], message: string) {
    super(message);
  }
}

/** No address of the service answered within the patience. */
export class Unavailable extends WatermasterError {
  override readonly name = "Unavailable";
}

/** The service found a mistake: an unknown name, a wrong token, a field that breaks its rule. Asking again does not help. */
export class CallError extends WatermasterError {
  override readonly name = "CallError";

  /** @param code gRPC's. */
  constructor(readonly code: number, message: string) {
    super(message);
  }
}
