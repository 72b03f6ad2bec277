import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI, { AzureOpenAI } from "openai";
import { fetch, type Fetch } from "../src/fetch.js";
import { collected } from "./garbage.js";
import { answering, hasten, Provider, Service, Tap, until } from "./world.js";

const config = (extra = "") => `
cold_start: trust
models:
  gpt-5: {context: 400k, max_output: 1k}
  gpt-5-mini: {context: 400k, max_output: 1k}
  claude-sonnet-5: {context: 200k, max_output: 1k}
organizations:
  acme:
    accounts:
      openai-main:
        provider: openai
        pools:
          gpt-5: {models: [gpt-5], limits: {requests: 10k/min, tokens: 10M/min, concurrency: 50}}
          mini: {models: [gpt-5-mini], limits: {requests: 2/min, tokens: 500/min}}
      claude-main:
        provider: anthropic
        pools:
          sonnet: {models: [claude-sonnet-5], limits: {requests: 10k/min, input_tokens: 10M/min, output_tokens: 10M/min, concurrency: 50}}
    projects:
      "*": {weight: 1}
${extra}`;

let service: Service, provider: Provider;
before(async () => {
  [service, provider] = await Promise.all([Service.start(config()), Provider.start()]);
});
after(() => Promise.all([service.close(), provider.close()]));

/** Runs with a fetch of its own, and sees that every call gave its place back. */
async function using(options: object, run: (fetch: Fetch) => Promise<void>): Promise<void> {
  const limited = fetch({ address: service.address, organization: "acme", project: "search", ...options });
  try {
    await run(limited);
    await until(async () => (await service.held()) === 0, "all places are given back");
  } finally {
    await limited.close();
  }
}
const openai = (limited: Fetch, options: object = {}) => new OpenAI({ apiKey: "sk-any", baseURL: `${provider.url}/v1`, fetch: limited, ...options });
const anthropic = (limited: Fetch, options: object = {}) => new Anthropic({ apiKey: "sk-ant-any", baseURL: provider.url, fetch: limited, ...options });

const hello = { model: "gpt-5", messages: [{ role: "user" as const, content: "Hello, how are you today?" }] };
const helloClaude = { model: "claude-sonnet-5", max_tokens: 20, messages: hello.messages };
const tool = { type: "object" as const, properties: { text: { type: "string" } } };
const wish = (name: string, value: string | number) => ({ headers: { [`x-standin-${name}`]: String(value) } });

test("OpenAI: plain, streamed, tools, responses", () => using({}, async (limited) => {
  const client = openai(limited);
  const { data, response } = await client.chat.completions.create(hello).withResponse();
  assert.ok(data.choices[0]!.message.content);
  assert.ok(response.headers.get("x-watermaster-request-id"));
  assert.equal(response.headers.get("x-watermaster-account"), "openai-main");
  assert.equal(response.headers.get("x-watermaster-model"), "gpt-5");
  assert.equal(response.headers.get("x-watermaster-pressure"), "NORMAL");
  assert.ok(Number(response.headers.get("x-watermaster-waited")) >= 0);
  assert.match(response.url, /\/v1\/chat\/completions$/);

  for (const split of [0, 1, 7]) {
    let words = 0;
    for await (const chunk of await client.chat.completions.create({ ...hello, stream: true }, wish("split", split))) {
      assert.ok(chunk.choices.length > 0, "the usage that nobody asked for is hidden");
      words += chunk.choices[0]!.delta.content ? 1 : 0;
    }
    assert.ok(words > 1);
  }
  let usage;
  for await (const chunk of await client.chat.completions.create({ ...hello, stream: true, stream_options: { include_usage: true } })) usage = chunk.usage ?? usage;
  assert.ok(usage!.prompt_tokens > 0);

  const called = await client.chat.completions.create({ ...hello, tools: [{ type: "function", function: { name: "say", parameters: tool } }], tool_choice: "required" });
  const call = called.choices[0]!.message.tool_calls![0]!;
  assert.equal(call.type === "function" && call.function.name, "say");

  const answer = await client.responses.create({ model: "gpt-5", input: "Hello" });
  assert.ok(answer.output_text);
  let done = false;
  for await (const event of await client.responses.create({ model: "gpt-5", input: "Hello", stream: true, previous_response_id: answer.id }, wish("split", 1))) {
    done ||= event.type === "response.completed";
  }
  assert.ok(done);
  assert.ok((await client.models.list()).data.length >= 0, "what is not limited passes");
}));

test("Anthropic: plain, streamed, tools", () => using({}, async (limited) => {
  const client = anthropic(limited);
  const { data, response } = await client.messages.create(helloClaude).withResponse();
  assert.equal(data.content[0]!.type, "text");
  assert.equal(response.headers.get("x-watermaster-account"), "claude-main");
  for (const split of [0, 1]) {
    const final = await client.messages.stream(helloClaude, wish("split", split)).finalMessage();
    assert.equal(final.content[0]!.type, "text");
    assert.ok(final.usage.output_tokens > 0);
  }
  const called = await client.messages.create({ ...helloClaude, tools: [{ name: "say", input_schema: tool }], tool_choice: { type: "any" } });
  assert.equal(called.content.find((c) => c.type === "tool_use")?.name, "say");
}));

test("Azure's form, and an answer that takes its time", () => using({}, async (limited) => {
  const azure = new AzureOpenAI({ endpoint: provider.url, apiKey: "az", apiVersion: "2026-06-01", deployment: "gpt-5", fetch: limited });
  const { response } = await azure.chat.completions.create({ ...hello, model: "gpt-5" }).withResponse();
  assert.match(response.url, /\/openai\/deployments\/gpt-5\/chat\/completions\?api-version=2026-06-01$/);
  assert.equal(response.headers.get("x-watermaster-account"), "openai-main");
  const slow = openai(limited).chat.completions.create(hello, wish("delay", "300ms"));
  await until(async () => (await service.held()) === 1, "it holds its place while it runs");
  assert.ok((await slow).usage!.total_tokens > 0);
}));

test("each class of error is the SDK's own, and is tried as often as helps", { concurrency: 4 }, async (t) => {
  const classes: [number, new (...a: never[]) => Error][] = [
    [400, OpenAI.BadRequestError], [401, OpenAI.AuthenticationError], [403, OpenAI.PermissionDeniedError], [404, OpenAI.NotFoundError],
    [409, OpenAI.ConflictError], [413, OpenAI.APIError], [422, OpenAI.UnprocessableEntityError], [429, OpenAI.RateLimitError],
    [500, OpenAI.InternalServerError], [503, OpenAI.InternalServerError], [529, OpenAI.InternalServerError], [408, OpenAI.APIError],
  ];
  await provider.reset();
  // A refusal may close the pool or the account, so each has its own.
  const each = (line: (status: number) => string) => classes.map(([status]) => line(status)).join("\n");
  const own = await Service.start(`
cold_start: trust
models:
${each((s) => `  m${s}: {context: 400k, max_output: 1k}`)}
organizations:
  acme:
    accounts:
${each((s) => `      a${s}: {provider: openai, pools: {p: {models: [m${s}], limits: {requests: 10k/min, tokens: 10M/min, concurrency: 50}}}}`)}
    projects: {"*": {weight: 1}}
`);
  const limited = fetch({ address: own.address, organization: "acme", project: "search", maxWait: 0.05 });
  try {
    await Promise.all(classes.map(([status, kind]) =>
      t.test(String(status), async () => {
        await assert.rejects(openai(limited).chat.completions.create({ ...hello, model: `m${status}` }, wish("status", status)), (e) => {
          assert.ok(e instanceof kind, `${(e as Error).constructor.name}: ${e}`);
          assert.equal((e as InstanceType<typeof OpenAI.APIError>).status, status);
          return true;
        });
        const { statuses } = await provider.report();
        assert.ok(statuses[status]! >= 1 && statuses[status]! <= 3, `${statuses[status]} attempts`);
        if (status < 500 && ![408, 409, 429].includes(status)) assert.equal(statuses[status], 1);
      })));
    await until(async () => (await own.held()) === 0, "all places are given back");
  } finally {
    await limited.close();
    await own.close();
  }
});

test("Anthropic's errors are its own", () => using({ retries: 0, maxWait: 0.05 }, async (limited) => {
  const client = anthropic(limited, { maxRetries: 0 });
  await assert.rejects(client.messages.create(helloClaude, wish("status", 400)), Anthropic.BadRequestError);
  await assert.rejects(client.messages.create(helloClaude, wish("status", 401)), Anthropic.AuthenticationError);
  await assert.rejects(client.messages.create(helloClaude, wish("status", 529)), Anthropic.InternalServerError);
}));

test("a refusal is a RateLimitError that says why, at once", () => using({ maxWait: 0 }, async (limited) => {
  const client = openai(limited);
  const mini = { ...hello, model: "gpt-5-mini", max_tokens: 10 };
  await assert.rejects(client.chat.completions.create({ ...mini, max_tokens: 900 }), (e) => {
    assert.ok(e instanceof OpenAI.RateLimitError);
    assert.equal(e.headers.get("x-watermaster-reason"), "TOO_LARGE");
    assert.equal(e.headers.get("retry-after"), null);
    assert.match(e.message, /watermaster: .*pool\/openai-main\/mini/);
    assert.equal(e.type, "tokens");
    return true;
  });
  await client.chat.completions.create(mini);
  await provider.reset();
  await assert.rejects(client.chat.completions.create(mini), (e) => {
    assert.ok(e instanceof OpenAI.RateLimitError);
    assert.ok(Number(e.headers.get("retry-after")) > 0);
    assert.equal(e.code, "rate_limit_exceeded");
    return true;
  });
  assert.equal((await provider.report()).calls, 0, "the provider was not asked");
  await assert.rejects(client.chat.completions.create({ ...hello, model: "gpt-6" }), OpenAI.NotFoundError);
  await assert.rejects(client.chat.completions.create(hello, { headers: { "x-watermaster-max-wait": "soon" } }), (e) => {
    assert.ok(e instanceof OpenAI.BadRequestError);
    assert.match(e.message, /x-watermaster-max-wait/);
    return true;
  });
  const refused = await limited(`${provider.url}/v1/messages`, { method: "POST", headers: { "x-api-key": "k" }, body: JSON.stringify({ ...helloClaude, model: "gpt-5-mini" }) });
  assert.equal(refused.status, 429);
  assert.equal(((await refused.json()) as { error: { type: string } }).error.type, "rate_limit_error");
}));

test("cancelled while it waits and while it runs", () => using({}, async (limited) => {
  const client = openai(limited);
  const given = new AbortController();
  const running = client.chat.completions.create(hello, { ...wish("delay", "30s"), signal: given.signal });
  await until(async () => (await service.held()) === 1, "the call runs");
  given.abort();
  await assert.rejects(running, OpenAI.APIUserAbortError);

  const reason = new Error("changed my mind");
  const done = limited(`${provider.url}/v1/chat/completions`, { method: "POST", body: JSON.stringify(hello), signal: AbortSignal.abort(reason) });
  await assert.rejects(done, (e) => e === reason);

  const waiting = new AbortController();
  // Of two a minute one is kept back, and that is used here at the latest.
  const mini = { ...hello, model: "gpt-5-mini", max_tokens: 10 };
  await client.chat.completions.create(mini, { headers: { "x-watermaster-max-wait": "0" } }).catch(() => {});
  const first = limited(`${provider.url}/v1/chat/completions`, { method: "POST", headers: { authorization: "Bearer k", "x-watermaster-max-wait": "2m" }, body: JSON.stringify(mini), signal: waiting.signal });
  await until(async () => (await service.waiting()) > 0, "the call waits");
  waiting.abort(reason);
  await assert.rejects(first, (e) => e === reason);
  await assert.rejects(client.chat.completions.create(hello, { ...wish("delay", "30s"), timeout: 50, maxRetries: 0 }), OpenAI.APIConnectionTimeoutError);
}));

test("a stream that is cut, closed half-way or let go of gives its place back", () => using({}, async (limited) => {
  const client = openai(limited);
  await assert.rejects(async () => {
    for await (const _ of await client.chat.completions.create({ ...hello, stream: true }, wish("cut", 3)));
  });
  for await (const _ of await client.chat.completions.create({ ...hello, stream: true })) break;
  for await (const _ of await anthropic(limited).messages.create({ ...helloClaude, stream: true })) break;
  await until(async () => (await service.held()) === 0, "given back");

  await (async () => {
    await limited(`${provider.url}/v1/chat/completions`, { method: "POST", headers: { authorization: "Bearer k" }, body: JSON.stringify(hello) });
  })();
  assert.equal(await service.held(), 1);
  await until(async () => {
    await collected();
    return (await service.held()) === 0;
  }, "the answer is collected");
}));

test("headers of the call stay here, and neither prompt nor key reaches the service", async () => {
  const toService = await Tap.start(service.address);
  const toProvider = await Tap.start(provider.url);
  try {
    await using({ address: toService.address, labels: { team: "x" } }, async (limited) => {
      const client = openai(limited, { apiKey: "sk-MARKERKEY", baseURL: `http://${toProvider.address}/v1` });
      const secret = { ...hello, messages: [{ role: "user" as const, content: "MARKERPROMPT" }] };
      await client.chat.completions.create(secret, { headers: { "x-watermaster-request-id": "MARKERID", "x-watermaster-affinity-key": "MARKERKIN" } });
      for await (const _ of await client.chat.completions.create({ ...secret, stream: true }));
      await assert.rejects(client.chat.completions.create(secret, wish("status", 400)));
      await limited(`http://${toProvider.address}/v1/models`, { headers: { authorization: "Bearer k", "x-watermaster-project": "MARKERPROJECT" } });
    });
    for (const marker of ["MARKERKEY", "MARKERPROMPT"]) {
      assert.ok(toProvider.bytes.includes(marker));
      assert.ok(!toService.bytes.includes(marker), marker);
    }
    assert.ok(toService.bytes.includes("MARKERID"));
    assert.ok(!/x-watermaster|MARKERID|MARKERKIN|MARKERPROJECT/i.test(toProvider.bytes));
  } finally {
    toService.close();
    toProvider.close();
  }
});

test("routes and keys are followed to another provider", async () => {
  const other = await Provider.start();
  const routed = await Service.start(config(`    routes:
      smart: {min_quality: 0.5, targets: [{account: openai-two, model: gpt-5-mini}, {account: openai-main, model: gpt-5, quality: 0.9}]}
`).replace("    projects:", `      openai-two:
        provider: openai
        attributes: {base_url: "${other.url}/v1"}
        pools:
          all: {models: [gpt-5-mini], limits: {requests: 10k/min, concurrency: 9}}
    projects:`));
  const tap = await Tap.start(other.url);
  try {
    const limited = fetch({ address: routed.address, project: "search", route: "smart", keys: { "openai-two": "sk-two" } });
    const { data, response } = await openai(limited).chat.completions.create(hello).withResponse();
    assert.equal(data.model, "gpt-5-mini");
    assert.equal(response.headers.get("x-watermaster-account"), "openai-two");
    assert.equal((await other.report()).calls, 1);
    await limited.close();

    // Without the key that target is given back unsent, and the next one serves.
    const keyless = fetch({ address: routed.address, project: "search", route: "smart" });
    const next = await openai(keyless).chat.completions.create(hello).withResponse();
    assert.equal(next.response.headers.get("x-watermaster-account"), "openai-main");
    assert.equal((await other.report()).calls, 1);
    await until(async () => (await routed.held()) === 0, "given back");

    // One that fails there is tried at the other.
    const failing = fetch({ address: routed.address, project: "search", route: "smart", keys: { "openai-two": "sk-two" }, retries: 1 });
    await other.close();
    await assert.rejects(openai(failing, { maxRetries: 0 }).chat.completions.create(hello), OpenAI.APIConnectionError);
    await failing.close();
    await keyless.close();
  } finally {
    tap.close();
    await routed.close();
    await other.close();
  }
});

test("the service away: closed, open, local, and back", async (t) => {
  const own = await Service.start(config());
  const closed = fetch({ address: own.address, project: "search", maxWait: 0.2 });
  const open = fetch({ address: own.address, project: "search", whenAway: "open" });
  const local = fetch({ address: own.address, project: "search", whenAway: { requests: 1, tokens: 100_000 }, maxWait: 0.2 });
  let back: Service | undefined;
  try {
    await openai(closed).chat.completions.create(hello);
    await own.close();
    hasten(t, 10);
    await assert.rejects(openai(closed).chat.completions.create(hello), (e) => {
      assert.ok(e instanceof OpenAI.InternalServerError);
      assert.equal(e.status, 503);
      assert.equal(e.code, "watermaster_unavailable");
      return true;
    });
    await openai(open).chat.completions.create(hello);
    for await (const chunk of await openai(open).chat.completions.create({ ...hello, stream: true })) assert.ok(chunk.choices.length > 0);
    await openai(local).chat.completions.create(hello);
    await assert.rejects(openai(local).chat.completions.create(hello), (e) => {
      assert.ok(e instanceof OpenAI.RateLimitError);
      assert.equal(e.headers.get("x-watermaster-reason"), "LOCAL_LIMIT");
      return true;
    });
    back = await Service.start(config(), own.address);
    for (const limited of [closed, open, local]) {
      await until(async () => {
        const { response } = await openai(limited).chat.completions.create(hello).withResponse().catch(() => ({ response: undefined }));
        return response?.headers.get("x-watermaster-account") === "openai-main";
      }, "the service serves again");
    }
  } finally {
    await Promise.all([closed, open, local].map((f) => f.close()));
    await back?.close();
  }
});

test("of several addresses one may be killed", async () => {
  const one = await Service.start(config()), two = await Service.start(config());
  const limited = fetch({ address: [one.address, two.address], project: "search" });
  try {
    for (let i = 0; i < 6; i++) {
      if (i === 3) await one.close();
      await openai(limited).chat.completions.create(hello);
    }
  } finally {
    await limited.close();
    await two.close();
  }
});

test("what any fetch may be given", () => using({}, async (limited) => {
  const body = JSON.stringify(hello), url = `${provider.url}/v1/chat/completions`, headers = { authorization: "Bearer k" };
  const bodies: BodyInit[] = [body, new TextEncoder().encode(body), new Blob([body]), new Response(body).body!];
  for (const b of bodies) {
    const response = await limited(new URL(url), { method: "POST", headers, body: b, duplex: "half" } as RequestInit);
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("x-watermaster-account"), "openai-main");
    await response.json();
  }
  const request = await limited(new Request(url, { method: "POST", headers, body }));
  assert.equal(request.headers.get("x-watermaster-account"), "openai-main");
  await request.text();
  const odd = await limited(new Request(url, { method: "POST", headers, body: new Uint8Array([0xff, 0xfe, 0x00]) }));
  assert.equal(odd.status, 400, "the provider says what is wrong");
  assert.equal(odd.headers.get("x-watermaster-request-id"), null);
}));

test("a compressed answer is read, and a failure in a stream is the SDK's to tell", async () => {
  const { gzipSync } = await import("node:zlib");
  const server = await answering((request, response) => {
    if (request.headers["x-mode"] === "gzip") {
      const packed = gzipSync(JSON.stringify({ id: "c", choices: [{ message: { content: "packed" } }], usage: { prompt_tokens: 3, completion_tokens: 4 } }));
      response.writeHead(200, { "content-type": "application/json", "content-encoding": "gzip", "content-length": packed.length }).end(packed);
    } else {
      response.writeHead(200, { "content-type": "text/event-stream" }).end('event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n');
    }
  });
  try {
    await using({}, async (limited) => {
      const client = openai(limited, { baseURL: `${server.url}/v1` });
      const { data, response } = await client.chat.completions.create(hello, { headers: { "x-mode": "gzip" } }).withResponse();
      assert.equal(data.choices[0]!.message.content, "packed");
      assert.equal(response.headers.get("content-encoding"), null);
      await assert.rejects(async () => {
        for await (const _ of await anthropic(limited, { baseURL: server.url }).messages.create({ ...helloClaude, stream: true }));
      }, Anthropic.APIError);
    });
  } finally {
    server.close();
  }
});
