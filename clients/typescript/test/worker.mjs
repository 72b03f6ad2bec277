// Workers of the fleet (clients/fleet): calls through the official SDK, one after the other.
// A line of JSON tells of each call; the flags are the same in all languages.
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import OpenAI, { APIError, RateLimitError } from "openai";
import * as watermaster from "watermaster";

const text = { type: "string" };
const { values: flags } = parseArgs({
  options: {
    service: text, provider: text, organization: text, project: text, workers: text,
    seconds: text, seed: text, "lease-ttl": text, "max-tokens": text,
  },
});

// A small generator, so that runs can be repeated (Marsaglia's xorshift).
function generator(seed) {
  let x = (seed * 2654435761) >>> 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 4294967296;
  };
}

const tell = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const since = (began) => (performance.now() - began) / 1000;

async function work(client, seed, end) {
  const chance = generator(seed);
  for (let i = 0; i < 8; i++) chance();
  const between = (low, high) => low + Math.floor(chance() * (high - low + 1));
  await sleep(1000 * chance());
  while (performance.now() < end) {
    const stream = chance() < 0.5;
    const words = Array.from({ length: between(20, 120) }, () => ["river", "lock", "weir", "gauge", "sluice"][between(0, 4)]).join(" ");
    const ask = { model: "m", max_tokens: Number(flags["max-tokens"]), messages: [{ role: "user", content: words }] };
    const options = { headers: { "x-standin-output": String(between(20, 80)) } };
    const began = performance.now();
    let seconds = 0;
    try {
      let usage;
      if (stream) {
        const events = await client.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } }, options);
        for await (const chunk of events) {
          seconds ||= since(began);
          usage = chunk.usage ?? usage;
        }
      } else {
        ({ usage } = await client.chat.completions.create(ask, options));
        seconds = since(began);
      }
      tell({ outcome: "ok", stream, seconds, input: usage.prompt_tokens, output: usage.completion_tokens });
    } catch (error) {
      const refused = error instanceof APIError && error.headers?.get?.("x-watermaster-reason");
      const outcome = error instanceof RateLimitError ? (refused ? "refused" : "throttled") : "error";
      tell({ outcome, stream, seconds: since(began), input: 0, output: 0, message: String(error) });
    }
  }
}

const fetch = flags.service
  ? watermaster.fetch({
      address: flags.service, organization: flags.organization, project: flags.project, leaseTtl: Number(flags["lease-ttl"]),
    })
  : undefined;
const client = new OpenAI({ baseURL: flags.provider + "/v1", apiKey: "any", fetch });
tell({ ready: true });
await once(process.stdin, "data");
process.stdin.destroy();
const end = performance.now() + 1000 * Number(flags.seconds);
await Promise.all(Array.from({ length: Number(flags.workers) }, (_, i) => work(client, Number(flags.seed) * 1000 + i, end)));
await fetch?.close();
tell({ done: true });
