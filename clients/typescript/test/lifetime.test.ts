// How long things last: a caller's patience, leases, addresses that go and come, and what is told when the process ends.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { after, before, beforeEach, test, type TestContext } from "node:test";
import { Server, ServerCredentials, status } from "@grpc/grpc-js";
import { seconds } from "../src/clock.js";
import { CallError, Limiter, Rejected, Unavailable, type Options } from "../src/index.js";
import { LimiterServiceService, Outcome } from "../src/watermaster/v1/limiter.js";
import { Scripted } from "./scripted.js";
import { hasten, Service, until } from "./world.js";

let service: Scripted;
before(async () => { service = await Scripted.start(); });
after(() => service.close());
beforeEach(() => service.reset());

async function using(options: Options, run: (limiter: Limiter) => Promise<void>): Promise<void> {
  const limiter = new Limiter({ address: service.address, ...options });
  try {
    await run(limiter);
  } finally {
    await limiter.close();
  }
}

const none = { code: status.UNAVAILABLE, message: "the store cannot be used" };

test("a block ends its lease: with what was used, or as unknown", () => using({}, async (limiter) => {
  { await using lease = await limiter.acquire({ model: "gpt-5" }); lease.used({ outputTokens: 3 }); }
  await assert.rejects(async () => { await using _ = await limiter.acquire({ model: "gpt-5" }); throw new Error("reset"); }, /reset/);
  { await using lease = await limiter.acquire({ model: "gpt-5" }); lease.release(Outcome.OUTCOME_UNSENT); }
  assert.equal(await limiter.acquire({ model: "gpt-5" }, async (lease) => lease.attempt), 0);
  await until(async () => service.released.length === 4, "all are told");
  assert.deepEqual(service.released.map((r) => r.outcome), [Outcome.OUTCOME_SUCCEEDED, Outcome.OUTCOME_UNKNOWN, Outcome.OUTCOME_UNSENT, Outcome.OUTCOME_SUCCEEDED]);
}));

test("an address may come first, and be left out", () => {
  assert.deepEqual(new Limiter(["localhost:1", "localhost:2"], { project: "chat" }).options, { address: ["localhost:1", "localhost:2"], project: "chat" });
  assert.equal(new Limiter(undefined, { project: "chat" }).options.project, "chat");
  assert.throws(() => new Limiter("nowhere", {}), RangeError);
});

test("no number of a request is used twice, even after a grant that was late", () => using({}, async (limiter) => {
  service.decisions.push(service.granted({}, 0));
  for (let i = 0; i < 2; i++) await limiter.run({ model: "gpt-5", requestId: "r" }, async () => {});
  assert.deepEqual(service.acquired.map((a) => [a.requestId, a.attempt]), [["r", 0], ["r", 1], ["r", 2]]);
}));

test("more leases than one call may renew are renewed by several", () => using({}, async (limiter) => {
  for (let i = 0; i < 300; i++) service.decisions.push(service.granted({}, 30, 0.2));
  const leases = await Promise.all(Array.from({ length: 300 }, () => limiter.acquire({ model: "gpt-5" })));
  await until(async () => new Set(service.renewed.flat()).size === 300, "all are renewed");
  assert.ok(service.renewed.every((ids) => ids.length <= 256));
  assert.ok(service.renewed.length < 30, `${service.renewed.length} calls for 300 leases`);
  for (const lease of leases) lease.end();
  await until(async () => service.released.length === 300, "all are released");
  assert.equal(new Set(service.released.map((r) => r.leaseId)).size, 300);
}));

test("the service is asked again until the patience ends, under the same key", () => using({ maxWait: 30 }, async (limiter) => {
  service.decisions.push(none, { $case: "wait", value: { retryAfter: undefined, binding: [] } }, none);
  (await limiter.acquire({ model: "gpt-5", requestId: "r" })).end();
  assert.deepEqual(service.acquired.map((a) => [a.requestId, a.attempt, Math.round(seconds(a.maxWait)!)]), Array(4).fill(["r", 0, 30]));
  await assert.rejects(limiter.acquire({ model: "gpt-5", maxWait: Infinity }), RangeError);
}));

/** Lets this process's clock run ahead, by seconds that the test adds. */
function clock(t: TestContext): { ahead: number } {
  const shift = { ahead: 0 }, real = performance.now.bind(performance);
  t.mock.method(performance, "now", () => real() + shift.ahead * 1000);
  return shift;
}

const again = { $case: "wait" as const, value: { retryAfter: undefined, binding: [] } };

test("who has waited long in the queue outlasts a restart: the service is looked for since it went away", (t) => using({}, async (limiter) => {
  const time = clock(t);
  service.decisions.push(again, again, none, none);
  service.asked = () => { time.ahead += 20; }; // 60 s when it goes away, 80 s when it is back
  const { ahead } = time;
  (await limiter.acquire({ model: "gpt-5" })).end();
  assert.equal(time.ahead - ahead, 100);
  assert.equal(service.acquired.length, 5);

  service.decisions.push(again, none, none, none);
  await assert.rejects(limiter.acquire({ model: "gpt-5" }), Unavailable);
  assert.equal(service.acquired.length, 9, "30 s after it went away, and not later");
}));

test("a service that is silent has a second where calls may go without it, and all its time once it has answered", async () => {
  await using({ whenAway: "open" }, async (limiter) => {
    service.decisions.push(again);
    (await limiter.acquire({ model: "gpt-5" })).end();
    assert.deepEqual(service.acquired.map((a) => seconds(a.block)), [0.5, 10]);
    assert.ok(service.patience[0]! <= 1001 && service.patience[1]! > 14_000, String(service.patience));
    service.reset();
    service.decisions.push("silence");
    const lease = await limiter.acquire({ model: "gpt-5" });
    assert.equal(lease.id, "");
    assert.equal(service.acquired.length, 1);
  });
  await using({ maxWait: 3 }, async (limiter) => {
    service.reset();
    (await limiter.acquire({ model: "gpt-5" })).end();
    assert.ok(seconds(service.acquired[0]!.block)! <= 3);
    assert.ok(service.patience[0]! > 7000);
  });
});

test("who waits for this process's minute has a lease as soon as the service is back", (t) => using({ whenAway: { requests: 1, tokens: 100 }, maxWait: 80 }, async (limiter) => {
  hasten(t, 10);
  service.decisions.push(...Array<typeof none>(100).fill(none));
  assert.equal((await limiter.acquire({ model: "gpt-5" })).id, "");
  const second = limiter.acquire({ model: "gpt-5" }); // in a minute
  await new Promise(setImmediate);
  service.decisions.length = 0;
  const lease = await second;
  assert.notEqual(lease.id, "");
  lease.end();
}));

test("a grant on its way to a caller who has gone is taken back, unless the caller may come back for it", () => using({}, async (limiter) => {
  const gone = async (requestId?: string) => {
    const over = new AbortController(), reason = new Error("enough");
    service.decisions.push("silence");
    service.asked = () => setImmediate(() => over.abort(reason));
    await assert.rejects(limiter.acquire({ model: "gpt-5", signal: over.signal, requestId }), (e) => e === reason);
    service.asked = () => {};
  };
  await gone();
  await until(() => service.released.length === 1, "it is taken back");
  assert.equal(service.released[0]!.outcome, Outcome.OUTCOME_UNSENT);
  const [first, second] = service.acquired;
  assert.deepEqual([second!.requestId, second!.attempt, seconds(second!.block), seconds(second!.maxWait)], [first!.requestId, first!.attempt, 0, 0]);

  service.reset();
  await gone("mine");
  await gone();
  await until(() => service.released.length === 1, "the other is taken back");
  assert.deepEqual(service.acquired.map((a) => a.requestId === "mine"), [true, false, false]);

  service.reset();
  service.decisions.push("silence", service.rejected());
  const over = new AbortController();
  service.asked = () => setImmediate(() => over.abort());
  await assert.rejects(limiter.acquire({ model: "gpt-5", signal: over.signal }));
  await limiter.close();
  assert.deepEqual([service.acquired.length, service.released.length], [2, 0], "what was not granted is left");
}));

test("without patience a service that is away is asked once", () => using({}, async (limiter) => {
  service.decisions.push(none);
  await assert.rejects(limiter.acquire({ model: "gpt-5", maxWait: 0 }), Unavailable);
  assert.equal(service.acquired.length, 1);
}));

test("who gives up while waiting is told at once, and holds nothing", () => using({}, async (limiter) => {
  const reason = new Error("enough"), over = new AbortController();
  service.decisions.push({ $case: "wait", value: { retryAfter: { seconds: 3600, nanos: 0 }, binding: [] } });
  const waiting = limiter.acquire({ model: "gpt-5", signal: over.signal });
  await until(async () => service.acquired.length === 1, "it waits");
  over.abort(reason);
  await assert.rejects(waiting, (e) => e === reason);
  await assert.rejects(limiter.acquire({ model: "gpt-5", signal: over.signal }), (e) => e === reason);
  assert.equal(service.acquired.length, 1, "no call of one who has given up");
}));

test("of several addresses the one with the least calls in flight is asked", async () => {
  const other = await Scripted.start();
  try {
    await using({ address: [service.address, other.address] }, async (limiter) => {
      const leases = await Promise.all(Array.from({ length: 20 }, () => limiter.acquire({ model: "gpt-5" })));
      assert.deepEqual([service.acquired.length, other.acquired.length], [10, 10]);
      for (const lease of leases) lease.release(Outcome.OUTCOME_UNSENT);
    });
  } finally {
    other.close();
  }
});

test("an address that is away is not asked until its health says that it serves", async () => {
  let asked = 0, checked = 0, healthy = false;
  const server = new Server();
  const refuse = (_: unknown, reply: (e: object) => void) => { asked++; reply({ code: status.UNAVAILABLE }); };
  server.addService({ acquire: LimiterServiceService.acquire, release: LimiterServiceService.release }, { acquire: refuse, release: refuse });
  const bytes = (b: Buffer) => b;
  server.addService(
    { check: { path: "/grpc.health.v1.Health/Check", requestStream: false, responseStream: false, requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes } },
    { check: (_: unknown, reply: (e: null, b: Buffer) => void) => { checked++; reply(null, Buffer.from([8, healthy ? 1 : 2])); } },
  );
  const port = await new Promise<number>((resolve, reject) => server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (e, p) => (e ? reject(e) : resolve(p))));
  try {
    await using({ address: [`127.0.0.1:${port}`, service.address] }, async (limiter) => {
      const ask = async () => { for (let i = 0; i < 4; i++) (await limiter.acquire({ model: "gpt-5" })).end(); };
      await ask();
      assert.equal(asked, 1);
      await until(async () => checked >= 2, "it is looked after");
      await ask();
      assert.equal(asked, 1, "it is not well yet");
      healthy = true;
      await until(async () => { await ask(); return asked > 1; }, "it is asked again");
    });
  } finally {
    server.forceShutdown();
  }
});

test("while the service is away calls go without it or by the minute of this process, and with it when it is back", async (t) => {
  hasten(t, 20);
  const lost = await Scripted.start(), { address } = lost;
  lost.close();
  await using({ address, whenAway: "open" }, async (limiter) => {
    const lease = await limiter.acquire({ model: "gpt-5" });
    assert.deepEqual([lease.id, lease.target, lease.start()], ["", undefined, true]);
    lease.end();
  });
  await using({ whenAway: "open" }, async (limiter) => {
    service.decisions.push(...Array<typeof none>(50).fill(none));
    assert.equal((await limiter.acquire({ model: "gpt-5" })).id, "");
    service.decisions.length = 0;
    await until(async () => {
      const lease = await limiter.acquire({ model: "gpt-5" });
      lease.end();
      return lease.id !== "";
    }, "calls have leases again");
  });
  await using({ address, whenAway: { requests: 1, tokens: 100 }, maxWait: 0 }, async (limiter) => {
    await assert.rejects(limiter.acquire({ model: "gpt-5", inputTokens: 60, maxOutputTokens: 41 }), (e) => e instanceof Rejected && e.reason === "LOCAL_LIMIT");
    (await limiter.acquire({ model: "gpt-5", inputTokens: 60, maxOutputTokens: 40 })).end();
    await assert.rejects(limiter.acquire({ model: "gpt-5" }), (e) => e instanceof Rejected && e.retryAfter! > 0);
  });
});

test("a process ends by itself, after what it had to tell was taken", async () => {
  service.refusals.push(...Array<number>(3).fill(status.UNAVAILABLE));
  const program = `
    import { Limiter } from ${JSON.stringify(new URL("../src/index.ts", import.meta.url).href)};
    const limiter = new Limiter(${JSON.stringify(service.address)});
    (await limiter.acquire({ model: "gpt-5" })).end();
  `;
  const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", program], { stdio: "inherit", cwd: new URL("..", import.meta.url) });
  const [code] = await once(child, "exit");
  assert.equal(code, 0);
  assert.equal(service.released.length, 1);
});

test("the first configuration, with a real service", async () => {
  const real = await Service.start(readFileSync(new URL("../../../examples/quickstart/config.yaml", import.meta.url), "utf8"));
  try {
    await using({ address: real.address, project: "search" }, async (limiter) => {
      assert.equal(await limiter.acquire({ route: "smart", inputTokens: 1000, maxOutputTokens: 100 }, async (lease) => {
        lease.used({ inputTokens: 900, outputTokens: 50 });
        return lease.target!.account;
      }), "openai-main");
      const rejected = (e: unknown) => e instanceof Rejected && e.reason === "TOO_LARGE" && e.retryAfter === undefined && e.binding[0]?.window === 60;
      await assert.rejects(limiter.acquire({ model: "gpt-5", inputTokens: 300_000 }), rejected);
      await assert.rejects(limiter.acquire({ model: "gpt-55" }), (e) => e instanceof CallError && e.code === status.NOT_FOUND && /gpt-5/.test(e.message));
      await limiter.report("openai-main", "gpt-5", { httpStatus: 200, headers: { "x-ratelimit-limit-requests": "300" } });
      const held = async () => (await limiter.headroom()).limits.find((l) => l.metric === "tokens")!.held;
      // Less when the minute ends meanwhile.
      await until(async () => (await held()) <= 950, "what was used is charged, and not what was asked for");
    });
  } finally {
    await real.close();
  }
});
