// Many calls at a time that end in every way but the good one: each gives its place back at once, and the provider never has too many.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { fetch, type Fetch } from "../src/fetch.js";
import { collected } from "./garbage.js";
import { Provider, Service, until } from "./world.js";

const CALLS = 50, PLACES = 20;
const models = ["gpt-5", "m429", "m500", "m503"];

let service: Service, provider: Provider, limited: Fetch;
before(async () => {
  provider = await Provider.start("--requests", "10000", "--tokens", "10000000", "--concurrency", String(PLACES));
  const pool = (model: string, concurrency: number) => `pools: {p: {models: [${model}], limits: {requests: 10k/min, tokens: 10M/min, concurrency: ${concurrency}}}}`;
  service = await Service.start(`
cold_start: trust
models:
${[...models, "claude-sonnet-5"].map((m) => `  ${m}: {context: 200k, max_output: 1k}`).join("\n")}
organizations:
  acme:
    accounts:
${models.map((m, i) => `      ${m}: {provider: openai, ${pool(m, i === 0 ? 10 : 3)}}`).join("\n")}
      claude: {provider: anthropic, ${pool("claude-sonnet-5", 1)}}
    projects: {"*": {weight: 1}}
`);
  limited = fetch({ address: service.address, organization: "acme", project: "search", maxWait: 20 });
});
after(async () => {
  await limited.close();
  await Promise.all([service.close(), provider.close()]);
});

const hello = { model: "gpt-5", messages: [{ role: "user" as const, content: "Hello" }] };
const wish = (name: string, value: string | number) => ({ headers: { [`x-standin-${name}`]: String(value) } });

/** Runs many at a time; when all have ended no place may be held, by the leases' own ends. */
async function storm(one: (openai: OpenAI, i: number, anthropic: Anthropic) => Promise<unknown>, look = async () => {}): Promise<PromiseSettledResult<unknown>[]> {
  const openai = new OpenAI({ apiKey: "k", baseURL: `${provider.url}/v1`, fetch: limited, maxRetries: 0 });
  const anthropic = new Anthropic({ apiKey: "k", baseURL: provider.url, fetch: limited, maxRetries: 0 });
  let ended: PromiseSettledResult<unknown>[] | undefined;
  void Promise.allSettled(Array.from({ length: CALLS }, (_, i) => one(openai, i, anthropic))).then((all) => { ended = all; });
  await until(async () => (await look(), ended !== undefined), "all end", 20_000);
  // Far less than the 30 s after which a lease expires.
  await until(async () => (await look(), (await service.held()) === 0), "all places are given back", 3000);
  const { refused } = await provider.report();
  assert.equal(refused, 0, "the provider never had too many");
  return ended!;
}

test("aborted: while they wait, while they run, while they stream", async () => {
  const ended = await storm(async (openai, i) => {
    const over = new AbortController();
    if (i % 3 === 2) {
      for await (const _ of await openai.chat.completions.create({ ...hello, stream: true }, { signal: over.signal })) over.abort();
      return;
    }
    setTimeout(() => over.abort(), (i % 20) * 3);
    return openai.chat.completions.create(hello, { ...wish("delay", "40ms"), signal: over.signal });
  });
  assert.ok(ended.some((e) => e.status === "rejected"));
});

test("broken out of, and let go of unread", async () => void (await storm(async (openai, i, anthropic) => {
  if (i % 5 === 0) {
    for await (const _ of await anthropic.messages.create({ ...hello, model: "claude-sonnet-5", max_tokens: 20, stream: true })) break;
  } else if (i % 2 === 0) {
    for await (const _ of await openai.chat.completions.create({ ...hello, stream: true })) break;
  } else {
    const body = JSON.stringify({ ...hello, stream: i % 4 === 1 });
    await limited(`${provider.url}/v1/chat/completions`, { method: "POST", headers: { authorization: "Bearer k" }, body });
  }
}, collected)));

test("cut, and out of the SDK's time", async () => {
  const ended = await storm(async (openai, i) => {
    if (i % 2 === 0) return openai.chat.completions.create(hello, { ...wish("delay", "1s"), timeout: 20 });
    for await (const _ of await openai.chat.completions.create({ ...hello, stream: true }, wish("cut", 2)));
    return undefined;
  });
  assert.ok(ended.every((e) => e.status === "rejected"));
});

test("answered with failures, and given up between attempts", async () => {
  const ended = await storm((openai, i) => {
    const status = [429, 500, 503][i % 3]!, over = new AbortController();
    if (i % 2 === 0) setTimeout(() => over.abort(), i * 4);
    return openai.chat.completions.create({ ...hello, model: `m${status}` }, { headers: { ...wish("status", status).headers, "x-watermaster-max-wait": "0.4" }, signal: over.signal });
  });
  assert.ok(ended.every((e) => e.status === "rejected"));
});
