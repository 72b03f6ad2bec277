import { Server, ServerCredentials, status, type sendUnaryData, type ServerUnaryCall } from "@grpc/grpc-js";
import {
  LimiterServiceService, PressureLevel, Reason, type AcquireRequest, type AcquireResponse, type Advice, type Granted, type LimiterServiceServer,
  type ReleaseRequest, type ReleaseResponse, type RenewRequest, type RenewResponse,
} from "../src/watermaster/v1/limiter.js";

type Decision = NonNullable<AcquireResponse["decision"]>;

/** A service that decides as a test says, and keeps what it was asked and told. */
export class Scripted {
  readonly acquired: AcquireRequest[] = [];
  readonly released: ReleaseRequest[] = [];
  /** Decides the next calls, in turn; when there are none left all are granted. */
  readonly decisions: (Decision | { code: number; message: string } | "silence")[] = [];
  /** For how many milliseconds each caller waits for the answer to its Acquire. */
  readonly patience: number[] = [];
  /** Called with each Acquire, before it is decided. */
  asked: () => void = () => {};
  /** Advises on the next releases of failures. */
  readonly advice: (Advice | undefined)[] = [];
  readonly renewed: string[][] = [];
  /** What the next releases are answered with, in turn, instead of being taken. */
  readonly refusals: number[] = [];
  #leases = 0;
  private constructor(readonly address: string, readonly close: () => void) {}

  static async start(): Promise<Scripted> {
    const server = new Server();
    let self: Scripted;
    const service: LimiterServiceServer = {
      acquire(call: ServerUnaryCall<AcquireRequest, AcquireResponse>, reply: sendUnaryData<AcquireResponse>) {
        self.acquired.push(call.request);
        self.patience.push(Number(call.getDeadline()) - Date.now());
        self.asked();
        const decision = self.decisions.shift() ?? self.granted();
        if (decision === "silence") return;
        if ("code" in decision) return reply({ code: decision.code, details: decision.message });
        reply(null, {
          requestId: call.request.requestId, decision,
          pressure: { level: PressureLevel.PRESSURE_LEVEL_HIGH, utilization: 0.9, totalUtilization: 0.9, waiting: 0, maxToolCalls: 3, agentProfile: "frugal" },
        });
      },
      release(call: ServerUnaryCall<ReleaseRequest, ReleaseResponse>, reply: sendUnaryData<ReleaseResponse>) {
        const refusal = self.refusals.shift();
        if (refusal !== undefined) return reply({ code: refusal });
        self.released.push(call.request);
        const failed = (call.request.observation?.httpStatus ?? 0) >= 400;
        reply(null, { settlements: [], late: false, advice: failed ? self.advice.shift() : undefined });
      },
      renew(call: ServerUnaryCall<RenewRequest, RenewResponse>, reply: sendUnaryData<RenewResponse>) {
        self.renewed.push(call.request.leaseIds);
        reply(null, { renewals: call.request.leaseIds.map((leaseId) => ({ leaseId, gone: false, ttl: { seconds: 30, nanos: 0 } })) });
      },
      report(_call, reply) { reply({ code: status.UNIMPLEMENTED }); },
    };
    server.addService(LimiterServiceService, service);
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, p) => (error ? reject(error) : resolve(p)));
    });
    self = new Scripted(`127.0.0.1:${port}`, () => server.forceShutdown());
    return self;
  }

  /** Forgets what was, and what was to come. */
  reset(): void {
    for (const list of [this.acquired, this.patience, this.released, this.renewed, this.decisions, this.advice, this.refusals]) list.length = 0;
    this.asked = () => {};
  }

  granted(target: Partial<NonNullable<Granted["target"]>> = {}, seconds = 30, renewEvery?: number): Decision {
    const provider = target.provider ?? "openai";
    return {
      $case: "granted",
      value: {
        leaseId: `lease-${++this.#leases}`, charges: [], renewEvery: renewEvery === undefined ? undefined : { seconds: 0, nanos: renewEvery * 1e9 }, waited: { seconds: 1, nanos: 500e6 }, ttl: { seconds: 30, nanos: 0 },
        startWithin: { seconds: Math.floor(seconds), nanos: Math.round((seconds % 1) * 1e9) },
        target: { account: "main", provider, model: "gpt-5", attributes: {}, ...target },
      },
    };
  }

  rejected(reason = Reason.REASON_WAIT_TOO_LONG): Decision {
    return { $case: "rejected", value: { reason, retryAfter: { seconds: 4, nanos: 0 }, binding: [], message: "no" } };
  }
}
