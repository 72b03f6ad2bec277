import type { Duration } from "./google/protobuf/duration.js";

/** Seconds of a clock that never goes back. */
export function now(): number {
  return performance.now() / 1000;
}

/** Waits for so many seconds; rejects with the signal's reason. A process does not stay for it alone if `background`. */
export function sleep(seconds: number, signal?: AbortSignal, background = false): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const abort = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, seconds * 1000);
    if (background) timer.unref();
    signal?.addEventListener("abort", abort, { once: true });
  });
}

export function duration(seconds: number): Duration;
export function duration(seconds: number | undefined): Duration | undefined;
export function duration(seconds: number | undefined): Duration | undefined {
  if (seconds === undefined) return undefined;
  const nanos = Math.max(0, Math.round(seconds * 1e9));
  return { seconds: Math.floor(nanos / 1e9), nanos: nanos % 1e9 };
}

export function seconds(duration: Duration): number;
export function seconds(duration: Duration | undefined): number | undefined;
export function seconds(duration: Duration | undefined): number | undefined {
  return duration && duration.seconds + duration.nanos / 1e9;
}
