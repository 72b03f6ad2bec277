/** Reads an answer's body as it passes. */
export interface Passing {
  /** Takes a piece and gives what to hand on. It never throws. */
  push(chunk: Uint8Array): Uint8Array[];
  /** The body is whole: gives what was held back. */
  finish(): Uint8Array[];
  /** The answer has told its end, whether or not more bytes follow. */
  readonly ended: boolean;
  /** The answer has told that it failed; what follows does not count. */
  readonly failure?: unknown;
}

/** What waits for the end of an answer. */
export interface Pending {
  /** Tells the end; only the first time counts. */
  settle(whole: boolean): void;
  /** It need no longer be told that the answer was let go of. */
  keep(): void;
  cancel(reason?: unknown): Promise<void>;
}

// A body that the caller let go of unread ends its call, too: nothing here refers to the stream itself.
const dropped = new FinalizationRegistry<Pending>((pending) => {
  pending.settle(false);
  pending.cancel().catch(() => {});
});

/** Tells once how an answer ended, at the latest when its request is aborted or what is `held` has been let go of, to which neither `cancel` nor `settle` may refer. */
export function watch(held: object, cancel: Pending["cancel"], settle: Pending["settle"], signal: AbortSignal | undefined): Pending {
  let settled = false;
  const pending: Pending = {
    cancel,
    settle(whole) {
      if (settled) return;
      settled = true;
      signal?.removeEventListener("abort", abort);
      dropped.unregister(pending);
      settle(whole);
    },
    keep: () => void dropped.unregister(pending),
  };
  // Nobody need read on for the call to have ended.
  const abort = () => pending.settle(false);
  if (signal?.aborted) abort();
  else {
    signal?.addEventListener("abort", abort, { once: true });
    dropped.register(held, pending, pending);
  }
  return pending;
}

/**
 * Hands a body on as it arrives, no faster than it is read, and tells once how it ended: `settle(true)` when it passed whole
 * or told its end, `settle(false)` when it broke, was cancelled, by itself or by the request's signal, or was let go of. `settle` must
 * not refer to the stream.
 */
export function passage(
  body: ReadableStream<Uint8Array>, passing: Passing, settle: (whole: boolean) => void, signal?: AbortSignal,
): ReadableStream<Uint8Array> {
  const source = body.getReader();
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        for (;;) {
          const { done, value } = await source.read();
          const pieces = done ? passing.finish() : passing.push(value);
          if (done || passing.ended || passing.failure !== undefined) pending.settle(true);
          for (const piece of pieces) if (piece.length > 0) controller.enqueue(piece);
          if (done) return controller.close();
          if (pieces.length > 0) return;
        }
      } catch (error) {
        pending.settle(false);
        controller.error(error);
      }
    },
    cancel(reason) {
      pending.settle(false);
      return source.cancel(reason);
    },
  }, { highWaterMark: 0 });
  const pending = watch(stream, (reason) => source.cancel(reason), settle, signal);
  return stream;
}

/** What of an error's body is read before it is judged, in bytes. */
const ERROR_BODY = 1 << 20;

/** The beginning of a body, and the whole of it to hand on: what follows the first megabyte comes as it is read. */
export interface Beginning {
  head: Uint8Array;
  body: BodyInit;
  /** Lets go of what was not read. */
  discard(): void;
}

/** Reads an error's body whole, or its first megabyte. A body that breaks hands on what came and then the error. */
export async function beginning(body: ReadableStream<Uint8Array> | null): Promise<Beginning> {
  if (body === null) return { head: new Uint8Array(), body: "", discard() {} };
  const source = body.getReader();
  const pieces: Uint8Array[] = [];
  let size = 0, rest: "none" | "more" | "broken" = "none", broken: unknown;
  try {
    for (;;) {
      const { done, value } = await source.read();
      if (done) break;
      pieces.push(value);
      size += value.length;
      if (size >= ERROR_BODY) {
        rest = "more";
        break;
      }
    }
  } catch (error) {
    rest = "broken";
    broken = error;
  }
  const head = Buffer.concat(pieces);
  if (rest === "none") return { head, body: head, discard() {} };
  let first = true;
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (first && head.length > 0) {
        first = false;
        controller.enqueue(head);
      } else if (rest === "broken") controller.error(broken);
      else {
        const { done, value } = await source.read();
        if (done) controller.close();
        else controller.enqueue(value);
      }
    },
    cancel: (reason) => source.cancel(reason),
  }, { highWaterMark: 0 });
  return { head, body: stream, discard: () => void source.cancel().catch(() => {}) };
}
