import { AsyncLocalStorage } from "node:async_hooks";
import type { Tokenizer } from "./tokenizer.js";

/** What may be said for a single call. Unset: as the limiter's options say. */
export interface Call {
  /** Who draws. */
  project?: string | undefined;
  /** Unset: "standard". */
  priorityClass?: string | undefined;
  /** A route of the organization is asked for instead of the model that the request names. */
  route?: string | undefined;
  /** Names the request over all of its attempts; unset: a random UUID. At most 128 characters. */
  requestId?: string | undefined;
  /** The whole patience in seconds, 0 to 86,400; unset: the class's. 0: never queue. */
  maxWait?: number | undefined;
  /** The least quality that will do, 0 to 1. */
  minQuality?: number | undefined;
  /** Requests with the same key go to the same target where they can. At most 256 characters. */
  affinityKey?: string | undefined;
  /** Only models that have all of these. */
  capabilities?: readonly string[] | undefined;
  /** Free text for reports, at most 16. */
  labels?: Readonly<Record<string, string>> | undefined;
}

/** A minute's amounts that this process may use while the service is away. */
export interface Local {
  requests: number;
  /** Of input and output together. */
  tokens: number;
}

/** How loaded the limits are for the caller's class; see the protocol's Pressure. */
export interface Pressure {
  level: "NORMAL" | "ELEVATED" | "HIGH" | "SATURATED";
  /** 1 is full. */
  utilization: number;
  totalUtilization: number;
  waiting: number;
  /** What an agent should do with; undefined: no advice. */
  maxToolCalls: number | undefined;
  agentProfile: string | undefined;
}

/** How a limiter reaches the service and what it says for its calls. */
export interface Options extends Call {
  /** "host:port", or several of one installation. Default "localhost:8081". */
  address?: string | readonly string[];
  /** Unset: that of the token, or the only one. */
  organization?: string;
  /** The service's key. It is sent in plaintext to loopback alone, unless insecure is set. */
  token?: string;
  /** true: encrypted, with the system's roots; or PEM texts. Default: plaintext. */
  tls?: boolean | { ca?: string | Buffer; cert?: string | Buffer; key?: string | Buffer };
  /** Send the token in plaintext beyond this machine. */
  insecure?: boolean;
  /** The account of the service's configuration that the SDK's own key belongs to. */
  account?: string;
  /** Keys of other accounts, by account; calls may be sent there. */
  keys?: Readonly<Record<string, string>>;
  /** Further attempts after failures that may pass; default 2. */
  retries?: number;
  /** What to do while no address answers: refuse, send without a lease, or hold to limits of this process. Default "closed". */
  whenAway?: "closed" | "open" | Local;
  /** For how many seconds a grant stays in force without a renewal; default 30. */
  leaseTtl?: number;
  /** Called when the level of pressure changes. */
  onPressure?: (pressure: Pressure) => void;
  /** How prompts are counted; default "auto": by the model's vocabulary if gpt-tokenizer is installed and has it, else an estimate. */
  tokenizer?: "auto" | "none" | Tokenizer;
}

// A process may load the package twice, by import and by require; what runs in one's context is in the other's.
const shared = globalThis as { [key: symbol]: AsyncLocalStorage<Call> | undefined };
const context = (shared[Symbol.for("watermaster.context")] ??= new AsyncLocalStorage<Call>());

/** Runs a function, and what it awaits, with options for its calls; they add to those of an outer withOptions. */
export function withOptions<T>(call: Call, run: () => T): T {
  return context.run({ ...context.getStore(), ...set(call) }, run);
}

/** The options of a call: what is given over the context over the limiter's. */
export function merged(defaults: Call, given: Call): Call {
  return { ...defaults, ...context.getStore(), ...set(given) };
}

function set(call: Call): Call {
  return Object.fromEntries(Object.entries(call).filter(([, value]) => value !== undefined));
}

/** Checks options; throws a RangeError or TypeError that says what is wrong. Gives the addresses. */
export function addressesOf(options: Options): string[] {
  const addresses = [options.address ?? "localhost:8081"].flat();
  if (addresses.length === 0 || addresses.some((a) => !/^(?:\[[^\]]+\]|[^:/\s]+):\d+$/.test(a))) {
    throw new RangeError(`watermaster: address must be "host:port", not ${JSON.stringify(options.address)}`);
  }
  const { maxWait, minQuality, retries, leaseTtl, whenAway } = options;
  patienceOf(maxWait);
  within("minQuality", minQuality, 0, 1);
  within("leaseTtl", leaseTtl, 1, 86400);
  within("retries", retries, 0, 100);
  if (typeof whenAway === "object") {
    within("whenAway.requests", whenAway.requests, 0, 1e12);
    within("whenAway.tokens", whenAway.tokens, 0, 1e12);
  }
  if (options.token && !options.tls && !options.insecure) {
    const far = addresses.find((a) => !/^(?:localhost|127(?:\.\d+){3}|\[::1\]):/.test(a));
    if (far !== undefined) throw new TypeError(`watermaster: the token would go to ${far} in plaintext; set tls, or insecure if the network is safe`);
  }
  return addresses;
}

/** Throws a RangeError unless it is a patience: 0 to 86,400 seconds, or undefined. */
export function patienceOf(maxWait: number | undefined): void {
  within("maxWait", maxWait, 0, 86400);
}

function within(name: string, value: number | undefined, least: number, most: number): void {
  if (value !== undefined && !(value >= least && value <= most)) throw new RangeError(`watermaster: ${name} must be from ${least} to ${most}, not ${value}`);
}
