// What the wrapper costs over a bare call: run by the benchmarks of clients/fleet.
// Prints a line of JSON: seconds and seconds of this process's CPU a call, bare and wrapped,
// in rounds that take turns; or, with --streams, the bytes of memory that each open stream takes.
import { readFileSync, writeSync } from "node:fs";
import { parseArgs } from "node:util";
import OpenAI from "openai";
import * as watermaster from "watermaster";

const text = { type: "string" };
const { values: flags } = parseArgs({
  options: {
    service: text, provider: text, organization: text, project: text, "in-flight": text, calls: text, rounds: text, streams: text,
  },
});
const ask = { model: "m", max_tokens: 20, messages: [{ role: "user", content: "What does a call cost? ".repeat(20) }] };
const sdk = (fetch) => new OpenAI({ baseURL: flags.provider + "/v1", apiKey: "any", maxRetries: 0, fetch });
const limited = flags.service
  ? watermaster.fetch({ address: flags.service, organization: flags.organization, project: flags.project })
  : undefined;

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const cpu = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

async function calls(client, n, inFlight) {
  let left = n;
  const one = async () => {
    while (left-- > 0) await client.chat.completions.create(ask);
  };
  await Promise.all(Array.from({ length: inFlight }, one));
}

async function measure() {
  const n = Number(flags.calls ?? 200);
  const took = [[], []].map(() => ({ wall: [], cpu: [] }));
  const pair = [sdk(), sdk(limited)];
  for (let round = 0; round <= Number(flags.rounds ?? 5); round++) {
    for (const [which, client] of pair.entries()) {
      const [wall, used] = [performance.now(), cpu()];
      await calls(client, n, Number(flags["in-flight"] ?? 1));
      if (round === 0) continue; // it warms up
      took[which].wall.push((performance.now() - wall) / 1000 / n);
      took[which].cpu.push((cpu() - used) / n);
    }
  }
  const [bare, wrapped] = took;
  return { bare: median(bare.wall), bare_cpu: median(bare.cpu), wrapped: median(wrapped.wall), wrapped_cpu: median(wrapped.cpu) };
}

function resident() {
  globalThis.gc?.();
  return Number(readFileSync("/proc/self/statm", "utf8").split(" ")[1]) * 4096;
}

async function streams(n) {
  const client = sdk(limited);
  const open = [];
  const begin = async () => {
    const stream = (await client.chat.completions.create({ ...ask, stream: true }))[Symbol.asyncIterator]();
    await stream.next();
    open.push(stream);
  };
  await begin();
  const before = resident();
  await Promise.all(Array.from({ length: n }, begin));
  return { stream: (resident() - before) / n };
}

const result = flags.streams ? await streams(Number(flags.streams)) : await measure();
writeSync(1, JSON.stringify(result) + "\n");
process.exit(0); // streams that are open need not be waited for
