import { connectivityState, credentials, Metadata, status, type CallOptions, type ChannelCredentials, type ClientUnaryCall, type ServiceError } from "@grpc/grpc-js";
import { sleep } from "./clock.js";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { LimiterServiceClient } from "./watermaster/v1/limiter.js";
import { GetHeadroomRequest, Headroom } from "./watermaster/v1/monitor.js";
import { addressesOf, type Options } from "./options.js";

// What is tried again is tried again here, at any address.
const plain = { "grpc.enable_retries": 0, "grpc.service_config_disable_resolution": 1 };

// A service that comes back is found again at once, and not after gRPC's two minutes.
const channel = { "grpc.initial_reconnect_backoff_ms": 100, "grpc.min_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 2000, "grpc.use_local_subchannel_pool": 1, ...plain };

type Method<Request, Response> = (
  this: LimiterServiceClient, request: Request, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

/** One address of the service. */
class Endpoint {
  readonly client: LimiterServiceClient;
  /** Calls that have not been answered yet. */
  open = 0;
  /** It answered that it is away, and has not yet said that it is back. */
  down = false;

  constructor(readonly address: string, security: ChannelCredentials) {
    this.client = new LimiterServiceClient(address, security, channel);
  }
}

/** Whether an error says that the service was not reached, so that another address or a later time may help. */
export function away(error: unknown): boolean {
  const code = (error as ServiceError).code;
  return code === status.UNAVAILABLE || code === status.DEADLINE_EXCEEDED;
}

/** The addresses of the service: the one with the least calls in flight is asked, one that is down not before it is well again. */
export class Service {
  readonly #endpoints: Endpoint[];
  readonly #metadata = new Metadata();
  #turn = 0;
  #closed = false;

  constructor(options: Options) {
    const { tls, token } = options;
    const pem = (text: string | Buffer | undefined) => (text === undefined ? null : Buffer.from(text));
    const given = typeof tls === "object" ? tls : {};
    const security = tls ? credentials.createSsl(pem(given.ca), pem(given.key), pem(given.cert)) : credentials.createInsecure();
    this.#endpoints = addressesOf(options).map((address) => new Endpoint(address, security));
    if (token) this.#metadata.set("authorization", `Bearer ${token}`);
  }

  /** Nobody may call any more. */
  get closed(): boolean {
    return this.#closed;
  }

  get size(): number {
    return this.#endpoints.length;
  }

  /** No address is known to answer. */
  get away(): boolean {
    return this.#endpoints.every((e) => e.down);
  }

  /**
   * Calls one address, within so many seconds, which are asked for when the call leaves. Rejects with a ServiceError, or with the
   * signal's reason. `connect`: how many seconds there are to reach it before that; unset: they count as the answer's.
   */
  call<Request, Response>(method: Method<Request, Response>, request: Request, within: number | (() => number), signal?: AbortSignal, connect?: number): Promise<Response> {
    const endpoint = this.#pick();
    endpoint.open++;
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => {
        endpoint.open--;
        if (signal?.aborted) return reject(signal.reason);
        if (away(error)) this.#lost(endpoint);
        reject(error);
      };
      const send = () => {
        const deadline = Date.now() + (typeof within === "number" ? within : within()) * 1000;
        let abort: (() => void) | undefined;
        // grpc-js keeps the caller's stack for its errors; nobody sees it, and it costs more than the message.
        const { stackTraceLimit } = Error;
        Error.stackTraceLimit = 0;
        try {
          const call = method.call(endpoint.client, request, this.#metadata, { deadline }, (error, response) => {
            if (abort !== undefined) signal!.removeEventListener("abort", abort);
            if (error || signal?.aborted) return fail(error);
            endpoint.open--;
            resolve(response);
          });
          if (signal === undefined) return;
          abort = () => call.cancel();
          signal.addEventListener("abort", abort, { once: true });
          if (signal.aborted) abort();
        } catch (error) {
          fail(error);
        } finally {
          Error.stackTraceLimit = stackTraceLimit;
        }
      };
      if (connect === undefined || endpoint.client.getChannel().getConnectivityState(false) === connectivityState.READY) send();
      else ready(endpoint.client, connect, signal).then(send, fail);
    });
  }

  /** What is left of the limits. */
  headroom(request: GetHeadroomRequest, within: number): Promise<Headroom> {
    return this.call(function (this: LimiterServiceClient, r: GetHeadroomRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: Headroom) => void) {
      return this.makeUnaryRequest(
        "/watermaster.v1.MonitorService/GetHeadroom", (q: GetHeadroomRequest) => Buffer.from(GetHeadroomRequest.encode(q).finish()), headroomOf, r, metadata, options,
        (error, response) => callback(error, response!),
      );
    }, request, within);
  }

  close(): void {
    this.#closed = true;
    for (const { client } of this.#endpoints) client.close();
  }

  #pick(): Endpoint {
    const turn = this.#turn++;
    let best: Endpoint | undefined;
    for (let i = 0; i < this.#endpoints.length; i++) {
      const e = this.#endpoints[(turn + i) % this.#endpoints.length]!;
      if (best === undefined || (best.down && !e.down) || (best.down === e.down && e.open < best.open)) best = e;
    }
    return best!;
  }

  #lost(endpoint: Endpoint): void {
    if (endpoint.down || this.#closed) return;
    endpoint.down = true;
    void (async () => {
      for (let pause = 0.1; !this.#closed; pause = Math.min(5, pause * 2)) {
        await sleep(pause, undefined, true);
        if (this.#closed || (await serving(endpoint.client))) break;
      }
      endpoint.down = false;
    })();
  }
}

/** Waits until there is a connection; rejects as soon as one could not be made, after so many seconds, or with the signal's reason. */
function ready(client: LimiterServiceClient, seconds: number, signal: AbortSignal | undefined): Promise<void> {
  const channel = client.getChannel(), deadline = Date.now() + seconds * 1000;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal!.reason);
    const done = (error?: Error) => {
      signal?.removeEventListener("abort", abort);
      if (error) reject(error);
      else resolve();
    };
    const look = (late?: Error) => {
      if (signal?.aborted) return;
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.READY) done();
      else if (late || state === connectivityState.TRANSIENT_FAILURE || state === connectivityState.SHUTDOWN) {
        done(Object.assign(new Error("no connection"), { code: status.UNAVAILABLE, details: "no connection" }));
      } else channel.watchConnectivityState(state, deadline, look);
    };
    signal?.throwIfAborted();
    signal?.addEventListener("abort", abort, { once: true });
    look();
  });
}

/** The revision of a configuration is beyond 2^53, which the generated code refuses: it is left out. */
function headroomOf(bytes: Buffer): Headroom {
  const response = new BinaryReader(bytes), kept: Uint8Array[] = [];
  while (response.pos < response.len) {
    const [field, type] = response.tag();
    if (field !== 1) {
      response.skip(type, field);
      continue;
    }
    const headroom = response.bytes(), inner = new BinaryReader(headroom);
    while (inner.pos < inner.len) {
      const from = inner.pos;
      const [name, kind] = inner.tag();
      inner.skip(kind, name);
      if (name !== 3) kept.push(headroom.subarray(from, inner.pos));
    }
  }
  return Headroom.decode(Buffer.concat(kept));
}

/** grpc.health.v1: the request is empty, of the answer only `status: SERVING` counts. */
function serving(client: LimiterServiceClient): Promise<boolean> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      "/grpc.health.v1.Health/Check", () => Buffer.alloc(0), (bytes: Buffer) => bytes[0] === 8 && bytes[1] === 1, undefined, new Metadata(), { deadline: Date.now() + 2000 },
      (error, well) => resolve(error ? error.code === status.UNIMPLEMENTED : well === true),
    );
  });
}
