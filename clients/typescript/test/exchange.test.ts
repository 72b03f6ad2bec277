import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { status } from "@grpc/grpc-js";
import { fetch, type Fetch } from "../src/fetch.js";
import { withOptions, type Options } from "../src/options.js";
import { FailureClass, Outcome, Reason, type ReleaseRequest } from "../src/watermaster/v1/limiter.js";
import { collected } from "./garbage.js";
import { Scripted } from "./scripted.js";
import { until } from "./world.js";

let service: Scripted;
before(async () => { service = await Scripted.start(); });
after(() => service.close());
beforeEach(() => service.reset());

interface Sent { url: string; headers: Headers; body: string }
type Answer = (sent: Sent, init: RequestInit) => Response | Promise<Response>;

/** Runs with a fetch whose answers are given in turn; the last one is given again. */
async function using(options: Options, answers: Answer[], run: (limited: Fetch, sent: Sent[]) => Promise<void>): Promise<void> {
  const sent: Sent[] = [];
  const limited = fetch({ address: service.address, organization: "acme", project: "search", tokenizer: "none", ...options }, (url: string, init: RequestInit) => {
    const one = { url, headers: init.headers as Headers, body: init.body as string };
    sent.push(one);
    return Promise.resolve(answers[Math.min(sent.length, answers.length) - 1]!(one, init));
  });
  try {
    await run(limited, sent);
  } finally {
    await limited.close();
  }
}

const url = "https://api.openai.com/v1/chat/completions";
const chat = { model: "gpt-5", max_tokens: 10, messages: [{ role: "user", content: "What is the capital of France?" }] };
const post = (body: object, more: RequestInit = {}): RequestInit => ({ method: "POST", headers: { authorization: "Bearer k" }, body: JSON.stringify(body), ...more });
const ok: Answer = () => Response.json({ id: "c", usage: { prompt_tokens: 9, completion_tokens: 4 } }, { headers: { "x-ratelimit-remaining-requests": "7", "x-other": "o" } });
const failing = (code: number, headers: Record<string, string> = {}): Answer => () => Response.json({ error: { message: "SECRET", type: "t", code: "c" } }, { status: code, headers });
const events = (...lines: string[]): Answer => () => new Response(lines.map((l) => `data: ${l}\n\n`).join(""), { headers: { "content-type": "text/event-stream" } });
const advise = (retry: boolean, otherTarget = false, seconds = 0) => ({ retry, otherTarget, retryAfter: { seconds, nanos: 0 }, failureClass: FailureClass.FAILURE_CLASS_TRANSIENT });

/** The releases, once there are as many as leases. */
async function releases(count: number): Promise<ReleaseRequest[]> {
  await until(() => service.released.length >= count, `${count} releases`);
  assert.equal(new Set(service.released.map((r) => r.leaseId)).size, service.released.length, "a lease is released once");
  assert.equal(service.released.length, count);
  return service.released;
}
const usageOf = (r: ReleaseRequest) => (r.consumption?.$case === "usage" ? r.consumption.value : undefined);

test("what is asked for, and what is told of a good answer", () => using({ priorityClass: "batch", labels: { team: "x" } }, [ok], async (limited) => {
  const response = await limited(url, post(chat, { headers: { authorization: "k", "x-stainless-retry-count": "1", "x-watermaster-request-id": "r1", "x-watermaster-max-wait": "90s" } }));
  await response.json();
  const [asked] = service.acquired;
  assert.equal(asked!.requestId, "r1");
  assert.equal(asked!.attempt, 1);
  assert.equal(asked!.organization, "acme");
  assert.equal(asked!.project, "search");
  assert.equal(asked!.priorityClass, "batch");
  assert.deepEqual(asked!.destination, { $case: "model", value: "gpt-5" });
  assert.equal(asked!.inputTokens, Math.ceil((8 + 4) * 1.2));
  assert.equal(asked!.maxOutputTokens, 10);
  assert.deepEqual(asked!.labels, { team: "x" });
  assert.deepEqual(asked!.constraints?.providers, ["openai"]);
  assert.deepEqual(asked!.constraints?.accounts, []);
  const [told] = await releases(1);
  assert.equal(told!.outcome, Outcome.OUTCOME_UNSPECIFIED);
  assert.equal(usageOf(told!)!.inputTokens, 9);
  assert.equal(usageOf(told!)!.outputTokens, 4);
  assert.equal(usageOf(told!)!.cachedInputTokens, undefined);
  assert.equal(told!.observation!.httpStatus, 200);
  assert.deepEqual(told!.observation!.headers, { "x-ratelimit-remaining-requests": "7" });
  assert.ok(told!.startedAfter);
  assert.equal(response.headers.get("x-watermaster-request-id"), "r1");
  assert.equal(response.headers.get("x-watermaster-waited"), "1.5");
  assert.equal(response.headers.get("x-watermaster-pressure"), "HIGH");
  assert.equal(response.headers.get("x-watermaster-max-tool-calls"), "3");
  assert.equal(response.headers.get("x-watermaster-agent-profile"), "frugal");
  assert.equal(response.headers.get("x-other"), "o");
}));

test("accounts are those whose keys are here", () => using({ account: "main", keys: { two: "k2" } }, [ok], async (limited) => {
  await (await limited(url, post(chat))).text();
  assert.deepEqual(service.acquired[0]!.constraints?.accounts, ["main", "two"]);
}));

test("a stream is asked for its usage, which only the service sees", () => using({}, [
  events('{"choices":[{"delta":{"content":"a"}}],"usage":null}', '{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}', "[DONE]"),
], async (limited, sent) => {
  const response = await limited(url, post({ ...chat, stream: true }));
  assert.equal(await response.text(), 'data: {"choices":[{"delta":{"content":"a"}}],"usage":null}\n\ndata: [DONE]\n\n');
  assert.deepEqual(JSON.parse(sent[0]!.body).stream_options, { include_usage: true });
  const [told] = await releases(1);
  assert.equal(told!.outcome, Outcome.OUTCOME_UNSPECIFIED);
  assert.equal(usageOf(told!)!.outputTokens, 4);
}));

test("what was not read to its end is unknown, with what was seen", () => using({}, [
  events('{"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}', '{"type":"content_block_delta"}'), ok,
], async (limited) => {
  service.decisions.push(service.granted({ provider: "anthropic" }));
  await (await limited("https://api.anthropic.com/v1/messages", post({ ...chat, stream: true }))).text();
  await (await limited(url, post(chat))).body!.cancel();
  const [cut, unread] = await releases(2);
  assert.equal(cut!.outcome, Outcome.OUTCOME_UNKNOWN);
  assert.equal(usageOf(cut!)!.inputTokens, 9);
  assert.equal(unread!.outcome, Outcome.OUTCOME_UNKNOWN);
  assert.equal(usageOf(unread!), undefined);
}));

test("a document is read in any way, and each tells its usage", async (t) => {
  const ways: Record<string, (r: Response) => Promise<unknown>> = {
    json: (r) => r.json(), text: (r) => r.text(), arrayBuffer: (r) => r.arrayBuffer(), blob: async (r) => (await r.blob()).text(),
    "a clone": async (r) => { const [a, b] = await Promise.all([r.clone().text(), r.text()]); assert.equal(a, b); },
    body: async (r) => { for await (const _ of r.body!); assert.equal(r.bodyUsed, true); },
    "a copy": (r) => new Response(r.body, r).json(),
  };
  for (const [name, way] of Object.entries(ways)) {
    await t.test(name, () => using({}, [ok], async (limited) => {
      service.reset();
      const response = await limited(url, post(chat));
      assert.ok(response instanceof Response && response.ok && !response.bodyUsed);
      assert.equal(response.headers.get("x-watermaster-account"), "main");
      assert.equal(response.headers.get("x-other"), "o");
      await way(response);
      assert.equal(response.bodyUsed, true);
      await assert.rejects(response.text(), TypeError, "it is read once");
      assert.equal(usageOf((await releases(1))[0]!)!.outputTokens, 4);
    }));
  }
});

test("a document that breaks or is no JSON is told as it ended", async () => {
  const broken = new Error("reset");
  const half: Answer = () => new Response(new ReadableStream({ start(c) { c.enqueue(new TextEncoder().encode('{"usage":')); c.error(broken); } }));
  await using({}, [half, () => new Response("{no"), half], async (limited) => {
    await assert.rejects((await limited(url, post(chat))).json(), (e) => e === broken);
    await assert.rejects((await limited(url, post(chat))).json(), SyntaxError);
    assert.deepEqual((await releases(2)).map((r) => r.outcome), [Outcome.OUTCOME_UNKNOWN, Outcome.OUTCOME_UNSPECIFIED]);
    const over = new AbortController();
    const response = await limited(url, post(chat, { signal: over.signal }));
    over.abort();
    assert.equal((await releases(3))[2]!.outcome, Outcome.OUTCOME_UNKNOWN);
    await response.body!.cancel().catch(() => {});
  });
});

test("a document that is let go of is collected, and ends its lease", () => using({}, [ok], async (limited) => {
  const { signal } = new AbortController();
  await (async () => void (await limited(url, post(chat, { signal }))))();
  const read = (await limited(url, post(chat))).json(); // of this one nobody holds the answer
  await until(async () => {
    await collected();
    return service.released.length === 2;
  }, "both are told");
  assert.ok(await read);
  assert.deepEqual((await releases(2)).map((r) => r.outcome).sort(), [Outcome.OUTCOME_UNSPECIFIED, Outcome.OUTCOME_UNKNOWN].sort());
}));

test("a failure in a stream is told as what it means", () => using({}, [events('{"error":{"message":"slow down","type":"rate_limit_exceeded"}}')], async (limited) => {
  await (await limited(url, post({ ...chat, stream: true }))).text();
  const [told] = await releases(1);
  assert.equal(told!.outcome, Outcome.OUTCOME_UNSPECIFIED);
  assert.equal(told!.observation!.httpStatus, 429);
  assert.match(told!.observation!.body, /slow down/);
}));

test("a lease ends with what ends the answer, though its connection stays open and is read no further", async (t) => {
  const cases: [string, string, string[], number][] = [
    ["chat", "chat/completions", ['{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}', "[DONE]"], 200],
    ["messages", "messages", ['{"type":"message_stop"}'], 200],
    ["completed", "responses", ['{"type":"response.completed","response":{"usage":{"input_tokens":9}}}'], 200],
    ["incomplete", "responses", ['{"type":"response.incomplete","response":{"usage":{"input_tokens":9}}}'], 200],
    ["failed", "responses", ['{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"m"}}}'], 429],
    ["error of messages", "messages", ['{"type":"error","error":{"type":"overloaded_error","message":"m"}}'], 529],
    ["error of chat", "chat/completions", ['{"error":{"message":"m","type":"server_error"}}'], 500],
    ["document", "chat/completions", [], 200],
  ];
  for (const [name, path, lines, status] of cases) {
    await t.test(name, async () => {
      service.reset();
      const text = lines.length === 0 ? '{"id":"c","usage":{"prompt_tokens":9}}' : lines.map((l) => `data: ${l}\n\n`).join("");
      const open: Answer = () => new Response(new ReadableStream({ start(c) { c.enqueue(new TextEncoder().encode(text)); } }), {
        headers: { "content-type": lines.length === 0 ? "application/json" : "text/event-stream" },
      });
      await using({ retries: 0 }, [open], async (limited) => {
        service.decisions.push(service.granted({ provider: path === "messages" ? "anthropic" : "openai" }));
        const reader = (await limited(`https://api.openai.com/v1/${path}`, post({ ...chat, stream: lines.length > 0 }))).body!.getReader();
        await reader.read();
        const [told] = await releases(1);
        assert.equal(told!.outcome, Outcome.OUTCOME_UNSPECIFIED);
        assert.equal(told!.observation!.httpStatus, status);
        await reader.cancel();
      });
      assert.equal(service.released.length, 1);
    });
  }
});

test("a refusal tells the pressure, too", () => using({}, [ok], async (limited) => {
  service.decisions.push(service.rejected());
  const { status, headers } = await limited(url, post(chat));
  assert.equal(status, 429);
  assert.deepEqual(["", "-max-tool-calls", "-agent-profile"].map((n) => headers.get(`x-watermaster${n || "-pressure"}`)), ["HIGH", "3", "frugal"]);
}));

test("a failure is tried again as advised, elsewhere where that is better", () => using({ account: "main", keys: { two: "k2" } }, [failing(503), failing(503), ok], async (limited, sent) => {
  service.decisions.push(service.granted(), service.granted({ account: "two" }));
  service.advice.push(advise(true, true), advise(true));
  const response = await limited(url, post(chat));
  assert.equal(response.status, 200);
  await response.text();
  assert.deepEqual(service.acquired.map((a) => a.attempt), [0, 1, 2]);
  assert.deepEqual(service.acquired.map((a) => a.constraints?.excludeAccounts), [[], ["main"], ["main"]]);
  assert.equal(new Set(service.acquired.map((a) => a.requestId)).size, 1);
  assert.deepEqual(sent.map((s) => s.headers.get("authorization")), ["Bearer k", "Bearer k2", "Bearer k"]);
  const told = await releases(3);
  assert.deepEqual(told.map((r) => r.observation!.httpStatus), [503, 503, 200]);
}));

test("without another account the call goes back to the one that failed", () => using({}, [failing(503), ok], async (limited, sent) => {
  service.decisions.push(service.granted(), service.rejected(Reason.REASON_NO_TARGET));
  service.advice.push(advise(true, true, 0));
  assert.equal((await limited(url, post(chat))).status, 200);
  assert.equal(sent.length, 2);
  assert.deepEqual(service.acquired.map((a) => a.constraints?.excludeAccounts), [[], ["main"], []]);
}));

test("a failure whose body is long is handed on whole", () => using({}, [() => new Response("x".repeat(3 << 20), { status: 503 })], async (limited) => {
  service.decisions.push(service.granted(), service.rejected());
  service.advice.push(advise(true));
  assert.equal((await (await limited(url, post(chat))).text()).length, 3 << 20);
  await releases(1);
}));

test("an account that cannot be followed and comes again is no endless loop", () => using({}, [ok], async (limited) => {
  const far = () => service.granted({ account: "far", attributes: { base_url: "https://far.example/v1" } });
  service.decisions.push(far(), far());
  assert.equal((await limited(url, post(chat))).status, 429);
  await releases(2);
}));

test("the last failure is handed on and not tried again by the SDK", async () => {
  await using({ retries: 2 }, [failing(503, { "x-request-id": "p" })], async (limited, sent) => {
    service.advice.push(advise(true), advise(true), advise(true));
    const response = await limited(url, post(chat));
    assert.equal(response.status, 503);
    assert.equal(response.headers.get("x-should-retry"), "false");
    assert.equal(response.headers.get("x-request-id"), "p");
    assert.equal(((await response.json()) as { error: { message: string } }).error.message, "SECRET");
    assert.equal(sent.length, 3);
  });
  await using({ retries: 2 }, [failing(400)], async (limited, sent) => {
    service.advice.push(advise(false));
    service.released.length = 0;
    assert.equal((await limited(url, post(chat))).status, 400);
    assert.equal(sent.length, 1);
    assert.equal((await releases(1))[0]!.observation!.body, '{"error":{"type":"t","code":"c"}}');
  });
  await using({ retries: 0 }, [failing(503)], async (limited, sent) => {
    service.advice.push(advise(true));
    const response = await limited(url, post(chat));
    assert.equal(response.headers.get("x-should-retry"), null);
    assert.equal(sent.length, 1);
  });
  await using({ retries: 2 }, [failing(503)], async (limited, sent) => {
    service.advice.push(advise(true), advise(true));
    await limited(url, post(chat, { headers: { "x-stainless-retry-count": "2" } }));
    assert.equal(sent.length, 1, "the SDK's own retries count");
  });
});

test("a further attempt that is refused, or comes after the patience, hands back the provider's failure", async () => {
  await using({}, [failing(503)], async (limited, sent) => {
    service.decisions.push(service.granted(), service.rejected());
    service.advice.push(advise(true));
    const response = await limited(url, post(chat));
    assert.equal(response.status, 503);
    assert.equal(response.headers.get("x-should-retry"), "false");
    assert.equal(sent.length, 1);
  });
  await using({ maxWait: 3 }, [failing(503)], async (limited, sent) => {
    service.advice.push(advise(true, false, 5));
    assert.equal((await limited(url, post(chat))).status, 503);
    assert.equal(sent.length, 1);
  });
});

test("a grant that cannot be followed or comes too late is given back unsent", () => using({}, [ok], async (limited, sent) => {
  service.decisions.push(service.granted({ account: "far", attributes: { base_url: "https://far.example/v1" } }), service.granted({}, 1e-9));
  await (await limited(url, post(chat))).text();
  assert.equal(sent.length, 1);
  assert.deepEqual(service.acquired.map((a) => a.attempt), [0, 1, 2]);
  assert.deepEqual(service.acquired.map((a) => a.constraints?.excludeAccounts), [[], ["far"], ["far"]]);
  const told = await releases(3);
  assert.deepEqual(told.map((r) => r.outcome).sort(), [Outcome.OUTCOME_UNSPECIFIED, Outcome.OUTCOME_UNSENT, Outcome.OUTCOME_UNSENT]);
  for (const r of told) if (r.outcome === Outcome.OUTCOME_UNSENT) assert.equal(r.startedAfter, undefined);
}));

test("no connection is unsent and tried again; what breaks after it was sent is unknown and is not", async () => {
  const refused = Object.assign(new TypeError("fetch failed"), { cause: Object.assign(new Error("connect"), { code: "ECONNREFUSED" }) });
  await using({}, [() => Promise.reject(refused), ok], async (limited, sent) => {
    await (await limited(url, post(chat))).text();
    assert.equal(sent.length, 2);
    assert.deepEqual((await releases(2)).map((r) => r.outcome).sort(), [Outcome.OUTCOME_UNSPECIFIED, Outcome.OUTCOME_UNSENT]);
  });
  await using({ retries: 0 }, [() => Promise.reject(refused)], async (limited) => {
    await assert.rejects(limited(url, post(chat)), (e) => e === refused);
  });
  service.released.length = 0;
  const reset = Object.assign(new TypeError("fetch failed"), { cause: Object.assign(new Error("reset"), { code: "ECONNRESET" }) });
  await using({}, [() => Promise.reject(reset), ok], async (limited, sent) => {
    await assert.rejects(limited(url, post(chat)), (e) => e === reset);
    assert.equal(sent.length, 1);
    assert.equal((await releases(1))[0]!.outcome, Outcome.OUTCOME_UNKNOWN);
  });
});

test("cancelled between attempts", () => using({}, [failing(503)], async (limited) => {
  const given = new AbortController(), reason = new Error("enough");
  service.advice.push(advise(true, false, 20));
  const done = limited(url, post(chat, { signal: given.signal }));
  done.catch(() => {});
  await releases(1);
  setImmediate(() => given.abort(reason));
  await assert.rejects(done, (e) => e === reason);
}));

test("errors of the service come in the provider's form", async (t) => {
  for (const [code, want] of [
    [status.NOT_FOUND, 404], [status.INVALID_ARGUMENT, 400], [status.UNAUTHENTICATED, 401], [status.PERMISSION_DENIED, 403],
    [status.RESOURCE_EXHAUSTED, 429], [status.INTERNAL, 500],
  ] as const) {
    await t.test(status[code], () => using({}, [ok], async (limited, sent) => {
      service.decisions.push({ code, message: "it is so" });
      const response = await limited(url, post(chat));
      assert.equal(response.status, want);
      assert.equal(response.headers.get("x-should-retry"), "false");
      assert.match(((await response.json()) as { error: { message: string } }).error.message, /^watermaster: it is so; ./);
      if (want === 429) assert.equal(response.headers.get("x-watermaster-reason"), "SERVICE_BUSY");
      assert.equal(sent.length, 0);
    }));
  }
});

test("a conversation that goes on counts what it was", () => using({}, [
  () => Response.json({ id: "resp_1", usage: { input_tokens: 1000, output_tokens: 500 } }), ok,
], async (limited) => {
  const to = "https://api.openai.com/v1/responses";
  await (await limited(to, post({ model: "gpt-5", input: "Hello" }))).text();
  await (await limited(to, post({ model: "gpt-5", input: "Hello", previous_response_id: "resp_1" }))).text();
  await (await limited(to, post({ model: "gpt-5", input: "Hello", previous_response_id: "resp_0" }))).text();
  const [first, second, third] = service.acquired.map((a) => a.inputTokens);
  assert.equal(second, Math.ceil((2 + 1500) * 1.2));
  assert.equal(third, first);
}));

test("what was counted corrects the next estimate", () => using({}, [() => Response.json({ usage: { prompt_tokens: 200, completion_tokens: 1 } })], async (limited) => {
  const long = { ...chat, messages: [{ role: "user", content: "word ".repeat(80) }] };
  await (await limited(url, post(long))).text();
  await (await limited(url, post(long))).text();
  const [first, second] = service.acquired.map((a) => a.inputTokens);
  assert.ok(second! > first!);
}));

test("a patience that is none is told before anything is asked", () => using({}, [ok], async (limited, sent) => {
  for (const maxWait of [-1, NaN, 90_000]) {
    const response = await withOptions({ maxWait }, () => limited(url, post(chat)));
    assert.equal(response.status, 400);
    assert.match(((await response.json()) as { error: { message: string } }).error.message, /^watermaster: maxWait must/);
  }
  assert.equal(sent.length + service.acquired.length, 0);
}));

test("pictures are counted", () => using({}, [ok], async (limited) => {
  await (await limited("https://api.openai.com/v1/images/generations", post({ model: "gpt-image-1", prompt: "a river", n: 2 }))).text();
  assert.deepEqual(service.acquired[0]!.units, { images: 2 });
  assert.equal(service.acquired[0]!.maxOutputTokens, 0);
}));

test("what is not limited passes as it is, but for our headers", () => using({}, [() => new Response("models")], async (limited, sent) => {
  await limited("https://api.openai.com/v1/models", { headers: { "x-watermaster-project": "p", "x-kept": "k" } });
  assert.equal(sent[0]!.headers.get("x-watermaster-project"), null);
  assert.equal(sent[0]!.headers.get("x-kept"), "k");
  const form = new FormData();
  await limited(url, { method: "POST", body: form });
  assert.equal(sent[1]!.body, form as never);
  assert.equal(service.acquired.length, 0);
}));
