import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { status } from "@grpc/grpc-js";
import { now } from "../src/clock.js";
import { fetch } from "../src/fetch.js";
import { CallError, Limiter, Rejected, Unavailable, withOptions, type Options } from "../src/index.js";
import { LocalLimit } from "../src/local.js";
import { Outcome, Reason } from "../src/watermaster/v1/limiter.js";
import { collected } from "./garbage.js";
import { Scripted } from "./scripted.js";
import { Service, until } from "./world.js";

let service: Scripted;
before(async () => { service = await Scripted.start(); });
after(() => service.close());
beforeEach(() => service.reset());

async function using(options: Options, run: (limiter: Limiter) => Promise<void>): Promise<void> {
  const limiter = new Limiter({ address: service.address, project: "search", ...options });
  try {
    await run(limiter);
  } finally {
    await limiter.close();
  }
}

test("options that are wrong are told at once", () => {
  assert.throws(() => new Limiter({ address: "nowhere" }), RangeError);
  assert.throws(() => new Limiter({ address: [] }), RangeError);
  assert.throws(() => new Limiter({ maxWait: -1 }), RangeError);
  assert.throws(() => new Limiter({ minQuality: NaN }), RangeError);
  assert.throws(() => new Limiter({ address: "10.0.0.1:8081", token: "t" }), /plaintext/);
  assert.throws(() => fetch({ address: ["localhost:8081", "far.example:8081"], token: "t" }), /far\.example/);
  for (const options of [{ insecure: true }, { tls: true }]) new Limiter({ address: "10.0.0.1:8081", token: "t", ...options });
  for (const address of ["localhost:8081", "127.0.0.1:8081", "[::1]:8081"]) new Limiter({ address, token: "t" });
});

test("options of a call: headers over context over defaults", () => using({ priorityClass: "batch", route: "plain" }, async (limiter) => {
  const limited = fetch(limiter, async () => Response.json({}));
  const ask = async (headers: Record<string, string> = {}) => {
    await (await limited("https://api.openai.com/v1/chat/completions", { method: "POST", headers, body: '{"model":"gpt-5"}' })).text();
    const { priorityClass, destination, project } = service.acquired.at(-1)!;
    return [priorityClass, destination?.value, project];
  };
  assert.deepEqual(await ask(), ["batch", "plain", "search"]);
  await withOptions({ priorityClass: "interactive", route: "smart" }, async () => {
    assert.deepEqual(await ask(), ["interactive", "smart", "search"]);
    await withOptions({ project: "chat" }, async () => assert.deepEqual(await ask(), ["interactive", "smart", "chat"]));
    assert.deepEqual(await ask({ "x-watermaster-route": "best" }), ["interactive", "best", "search"]);
  });
  assert.deepEqual(await ask(), ["batch", "plain", "search"]);
  await limited.close();
  assert.deepEqual(await ask(), ["batch", "plain", "search"], "a limiter that was given stays open");
}));

test("run ends the lease with what was told of the call", () => using({}, async (limiter) => {
  const result = await limiter.run({ model: "gpt-5", inputTokens: 10, maxOutputTokens: 5, requestId: "r" }, async (lease) => {
    assert.equal(lease.target!.account, "main");
    lease.used({ inputTokens: 9, outputTokens: 4 });
    lease.observe(200, { "X-RateLimit-Remaining-Requests": "3", "set-cookie": "c" });
    return "done";
  });
  assert.equal(result, "done");
  await assert.rejects(limiter.run({ model: "gpt-5", requestId: "r" }, () => Promise.reject(new Error("reset"))), /reset/);
  await until(() => service.released.length === 2, "both are told");
  assert.deepEqual(service.acquired.map((a) => a.attempt), [0, 1]);
  const [good, broken] = service.released;
  assert.equal(good!.outcome, Outcome.OUTCOME_UNSPECIFIED);
  assert.deepEqual(good!.observation!.headers, { "x-ratelimit-remaining-requests": "3" });
  assert.ok(good!.startedAfter);
  assert.equal(broken!.outcome, Outcome.OUTCOME_UNKNOWN);
}));

test("a grant that came too late is given back, and asked for anew", () => using({}, async (limiter) => {
  service.decisions.push(service.granted({}, 1e-9));
  await limiter.run({ model: "gpt-5" }, async () => {});
  await until(() => service.released.length === 2, "both are told");
  assert.deepEqual(service.acquired.map((a) => a.attempt), [0, 1]);
  assert.equal(service.acquired[0]!.requestId, service.acquired[1]!.requestId);
  assert.deepEqual(service.released.map((r) => r.outcome).sort(), [Outcome.OUTCOME_SUCCEEDED, Outcome.OUTCOME_UNSENT].sort());
}));

test("who waits asks again under the same key", () => using({ maxWait: 60 }, async (limiter) => {
  const wait = { $case: "wait" as const, value: { retryAfter: { seconds: 0, nanos: 1e6 }, binding: [] } };
  service.decisions.push(wait, wait);
  (await limiter.acquire({ model: "gpt-5" })).end();
  assert.equal(service.acquired.length, 3);
  assert.equal(new Set(service.acquired.map((a) => `${a.requestId} ${a.attempt} ${a.maxWait?.seconds}`)).size, 1);
}));

test("refusals and mistakes are errors that say what", () => using({}, async (limiter) => {
  service.decisions.push(service.rejected(Reason.REASON_GATED), { code: status.NOT_FOUND, message: "no such model" });
  await assert.rejects(limiter.acquire({ model: "m" }), (e) => e instanceof Rejected && e.reason === "GATED" && e.retryAfter === 4);
  await assert.rejects(limiter.acquire({ model: "m" }), (e) => e instanceof CallError && e.code === status.NOT_FOUND && e.message === "no such model");
  const nobody = new Limiter({ address: "127.0.0.1:9", maxWait: 0 });
  await assert.rejects(nobody.acquire({ model: "m" }), Unavailable);
  await nobody.close();
}));

test("a stream that runs long keeps its lease, and all go in one call", () => using({}, async (limiter) => {
  for (let i = 0; i < 3; i++) service.decisions.push(service.granted({}, 30, 0.15));
  const leases = await Promise.all([1, 2, 3].map(() => limiter.acquire({ model: "gpt-5" })));
  await until(() => service.renewed.length >= 1, "renewals");
  assert.deepEqual(new Set(service.renewed.at(-1)), new Set(leases.map((l) => l.id)));
  for (const lease of leases) lease.end();
  await until(() => service.released.length === 3, "ends");
  const count = service.renewed.length;
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.ok(service.renewed.length <= count + 1, "what has ended is not renewed");
}));

test("an end is told once, and until it is taken", () => using({}, async (limiter) => {
  service.refusals.push(status.UNAVAILABLE, status.UNAVAILABLE);
  const lease = await limiter.acquire({ model: "gpt-5" });
  lease.end();
  lease.end(true);
  lease.release(Outcome.OUTCOME_UNSENT);
  await limiter.acquire({ model: "gpt-5" }).then((l) => l.end());
  await until(() => service.released.length === 2, "both are told");
  assert.deepEqual(service.released.map((r) => r.outcome), [Outcome.OUTCOME_SUCCEEDED, Outcome.OUTCOME_SUCCEEDED]);

  // What is not taken for another reason is not told again.
  service.refusals.push(status.NOT_FOUND);
  (await limiter.acquire({ model: "gpt-5" })).end();
  await until(() => service.refusals.length === 0, "it was told");
  await limiter.close();
  assert.equal(service.released.length, 2);
}));

test("closing tells what is still to be told", async () => {
  const limiter = new Limiter({ address: service.address });
  const leases = await Promise.all(Array.from({ length: 100 }, () => limiter.acquire({ model: "gpt-5" })));
  for (const lease of leases) lease.end();
  await limiter.close();
  assert.equal(service.released.length, 100);
});

test("a limiter that was closed says so at once, and tells nothing more", async (t) => {
  const limiter = new Limiter({ address: service.address });
  const late = await limiter.acquire({ model: "gpt-5" });
  service.decisions.push({ $case: "wait", value: { retryAfter: { seconds: 0, nanos: 100e6 }, binding: [] } });
  const waiting = limiter.acquire({ model: "gpt-5" });
  await until(() => service.acquired.length === 2, "it waits");
  await limiter.close();
  await limiter.close();
  const closed = (e: unknown) => e instanceof Unavailable && /closed/.test(e.message);
  await assert.rejects(waiting, closed);
  await assert.rejects(limiter.acquire({ model: "gpt-5" }), closed);
  assert.equal((await fetch(limiter)("https://api.openai.com/v1/chat/completions", { method: "POST", body: '{"model":"gpt-5"}' })).status, 503);
  t.mock.method(globalThis, "setTimeout", () => assert.fail("nothing is tried again"));
  late.end();
  assert.deepEqual([limiter.droppedReleases, service.released.length, service.acquired.length], [1, 0, 2]);
});

test("a lease that is let go of is ended as unknown", () => using({}, async (limiter) => {
  await (async () => void (await limiter.acquire({ model: "gpt-5" })))();
  await until(async () => {
    await collected();
    return service.released.length === 1;
  }, "the lease is collected");
  assert.equal(service.released[0]!.outcome, Outcome.OUTCOME_UNKNOWN);
}));

test("pressure is told when it changes", async () => {
  const seen: string[] = [];
  await using({ onPressure: (p) => { seen.push(p.level); throw new Error("a caller's mistake"); } }, async (limiter) => {
    assert.equal(limiter.pressure.level, "NORMAL");
    for (let i = 0; i < 3; i++) (await limiter.acquire({ model: "gpt-5" })).end();
    assert.deepEqual(seen, ["HIGH"]);
    assert.equal(limiter.pressure.maxToolCalls, 3);
  });
});

test("the minute of this process holds requests and tokens, and who came first goes first", () => {
  const limit = new LocalLimit({ requests: 2, tokens: 100 });
  limit.reserve(60, now());
  assert.throws(() => limit.reserve(101, now() + 1000), (e) => e instanceof Rejected && e.reason === "LOCAL_LIMIT" && e.retryAfter === undefined);
  assert.throws(() => limit.reserve(60, now() + 50), (e) => e instanceof Rejected && e.retryAfter! > 59 && e.retryAfter! <= 60);
  const second = limit.reserve(40, now());
  assert.ok(second.at <= now());
  assert.throws(() => limit.reserve(0, now() + 50), Rejected);
  const third = limit.reserve(60, now() + 61), fourth = limit.reserve(1, now() + 61);
  assert.ok(third.at > now() + 59 && fourth.at >= third.at);
  limit.cancel(fourth);
  assert.throws(() => limit.reserve(60, now() + 61), Rejected, "the next minute has no room either");
  limit.cancel(third);
  assert.equal(limit.reserve(60, now() + 61).at, third.at);
  assert.throws(() => new LocalLimit({ requests: 0, tokens: 100 }).reserve(1, now() + 1000), Rejected);
});

test("a service that does not answer is left out, and asked again when it is well", async () => {
  const lost = await Scripted.start(), { address } = lost;
  lost.close();
  const limiter = new Limiter({ address: [address, service.address], whenAway: "open" });
  try {
    for (let i = 0; i < 4; i++) {
      const lease = await limiter.acquire({ model: "gpt-5" });
      assert.notEqual(lease.id, "", "the other one answers");
      lease.end();
    }
  } finally {
    await limiter.close();
  }
});

test("a key over TLS", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "watermaster-"));
  const [certFile, keyFile] = ["cert.pem", "key.pem"].map((name) => join(directory, name)) as [string, string];
  const made = spawnSync("openssl", [
    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", keyFile, "-out", certFile,
  ]);
  if (made.status !== 0) return t.skip("there is no openssl");
  const real = await Service.start(`
organizations:
  acme:
    accounts: {a: {provider: openai, pools: {p: {models: [gpt-5], limits: {tokens: 1M/min}}}}}
    projects: {search: {weight: 1}}
models: {gpt-5: {context: 400k, max_output: 128k}}
cold_start: trust
credentials:
  - {name: workers, sha256: "${createHash("sha256").update("the-key").digest("hex")}", organization: acme, projects: [search]}
`, "127.0.0.1:0", "--tls-cert", certFile, "--tls-key", keyFile);
  const ca = readFileSync(certFile);
  rmSync(directory, { recursive: true });
  const want = { model: "gpt-5", inputTokens: 1, maxOutputTokens: 1 };
  const good = new Limiter({ address: real.address, token: "the-key", tls: { ca } });
  const wrong = new Limiter({ address: real.address, token: "another", tls: { ca } });
  const stranger = new Limiter({ address: real.address, token: "the-key", tls: true, maxWait: 0 });
  try {
    (await good.acquire(want)).end();
    await assert.rejects(wrong.acquire(want), (e) => e instanceof CallError && e.code === status.UNAUTHENTICATED);
    await assert.rejects(stranger.acquire(want), Unavailable);
  } finally {
    await Promise.all([good, wrong, stranger].map((l) => l.close()));
    await real.close();
  }
});

test("headroom of a real service", async () => {
  const real = await Service.start(`
organizations:
  acme:
    accounts: {a: {provider: openai, pools: {p: {models: [gpt-5], limits: {tokens: 1M/min}}}}}
    projects: {"*": {weight: 1}}
models: {gpt-5: {context: 400k, max_output: 128k}}
`);
  const limiter = new Limiter({ address: real.address });
  try {
    const { organization, limits } = await limiter.headroom();
    assert.equal(organization, "acme");
    assert.equal(limits.find((l) => l.metric === "tokens")!.quota, 1_000_000);
    await assert.rejects(limiter.headroom({ account: "b" }), (e) => e instanceof CallError && e.code === status.NOT_FOUND);
    await limiter.report("a", "gpt-5", { httpStatus: 200, headers: { "x-ratelimit-limit-requests": "100" } });
  } finally {
    await limiter.close();
    await real.close();
  }
});
