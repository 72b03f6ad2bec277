import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { DocumentReader } from "../src/document.js";
import { tokens } from "../src/estimate.js";
import { EventReader } from "../src/events.js";
import { callHeaders, retryAfter, unsent } from "../src/header.js";
import { withMember } from "../src/json.js";
import { observe } from "../src/observation.js";
import { Ratios } from "../src/ratio.js";
import { counter, load, vocabularyOf } from "../src/tokenizer.js";
import { UsageReader } from "../src/usage.js";
import type { Wire } from "../src/wire.js";

const wires: Wire[] = ["chat", "completions", "responses", "embeddings", "messages", "images"];

/** Bytes in pieces: any, and often what looks like events. */
const words = [
  "data: ", "event: error", "event: message_stop", "\n", "\r", "\r\n", "\n\n", "\r\n\r\n", "[DONE]", '{"usage":{"prompt_tokens":1}}', '{"choices":[],"usage":{}}',
  '{"error":{"type":"api_error"}}', '"usage":{', "{", "}", '"', "\\", "é", "\ufeff", ":", "id: 1", '{"type":"response.failed","response":{}}',
];
const soup = fc.array(fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(...words).map((w) => Buffer.from(w)) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 8 }).map((b) => Buffer.from(b)) },
), { maxLength: 40 }).map((pieces) => Buffer.concat(pieces));

function split(bytes: Buffer, sizes: number[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes.length === 0 ? bytes.length : sizes[i % sizes.length]!;
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return pieces;
}

function read(wire: Wire, hide: boolean, pieces: Uint8Array[]) {
  const reader = new EventReader(wire, hide);
  const out = pieces.flatMap((p) => reader.push(p));
  out.push(...reader.finish());
  return { bytes: Buffer.concat(out).toString("latin1"), used: reader.used, ended: reader.ended, failure: reader.failure };
}

test("events: any bytes in any pieces pass unchanged, and say the same as in one piece", () => {
  fc.assert(fc.property(soup, fc.array(fc.integer({ min: 1, max: 9 })), fc.constantFrom(...wires), fc.boolean(), (bytes, sizes, wire, hide) => {
    const whole = read(wire, hide, [bytes]);
    assert.deepEqual(read(wire, hide, split(bytes, sizes)), whole);
    if (!hide) assert.equal(whole.bytes, bytes.toString("latin1"));
  }), { numRuns: 600 });
});

test("events: of a stream only the hidden chunk is missing, whatever is around it", () => {
  const hidden = 'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}';
  const event = fc.oneof(
    fc.string().map((s) => `data: ${JSON.stringify({ choices: [{ delta: { content: s } }], usage: null })}`),
    fc.string().map((s) => `: ${s.replace(/[\r\n]/g, "")}`),
    fc.constant("data: [DONE]"),
  );
  fc.assert(fc.property(
    fc.array(event, { maxLength: 6 }), fc.array(event, { maxLength: 3 }), fc.constantFrom("\n", "\r\n", "\r"), fc.array(fc.integer({ min: 1, max: 50 })),
    (before, after, end, sizes) => {
      const text = (events: string[]) => events.map((e) => e + end + end).join("");
      const got = read("chat", true, split(Buffer.from(text([...before, hidden, ...after])), sizes));
      assert.equal(got.bytes, Buffer.from(text([...before, ...after])).toString("latin1"));
      assert.deepEqual(got.used, { inputTokens: 3, outputTokens: 4 });
    },
  ), { numRuns: 300 });
});

test("events: each whole event is handed on with the piece that ends it", () => {
  const reader = new EventReader("chat", true);
  const seen = (text: string) => Buffer.concat(reader.push(Buffer.from(text))).toString();
  assert.equal(seen('data: {"a":1}\n'), "");
  assert.equal(seen("\nda"), 'data: {"a":1}\n\n');
  assert.equal(seen('ta: {"choices":[],"usage":{}}\r\n\r'), "");
  assert.equal(seen("\ndata: [DONE]\n\n"), "data: [DONE]\n\n");
  assert.equal(reader.ended, true);
});

test("events: what is too long to look into passes", () => {
  const reader = new EventReader("chat", true);
  const mega = Buffer.alloc(1 << 20, "x");
  let size = 0;
  for (let i = 0; i < 20; i++) for (const piece of reader.push(mega)) size += piece.length;
  assert.equal(size, 20 << 20);
  assert.equal(Buffer.concat(reader.push(Buffer.from("\n\ndata: [DONE]\n\n"))).toString(), "\n\ndata: [DONE]\n\n");
  assert.equal(reader.ended, true);
});

test("documents: members of the outermost object are found as JSON.parse finds them, in any pieces", () => {
  const member = fc.constantFrom("usage", "id", "error", "u", "", "a\"b", "usage\\");
  const value = fc.object({ key: member, maxDepth: 3 });
  fc.assert(fc.property(value, fc.array(fc.integer({ min: 1, max: 9 })), fc.constantFrom(0, 2), (v, sizes, indent) => {
    const text = JSON.stringify(v, null, indent) ?? "";
    const reader = new DocumentReader("usage", "id");
    for (const piece of split(Buffer.from(text), sizes)) reader.push(piece);
    const want = JSON.parse(text);
    assert.deepEqual(reader.get("usage"), want.usage);
    assert.deepEqual(reader.get("id"), want.id);
  }), { numRuns: 400 });
  fc.assert(fc.property(soup, fc.array(fc.integer({ min: 1, max: 9 })), (bytes, sizes) => {
    const whole = new DocumentReader("usage"), cut = new DocumentReader("usage");
    whole.push(bytes);
    for (const piece of split(bytes, sizes)) cut.push(piece);
    assert.deepEqual(cut.get("usage"), whole.get("usage"));
  }), { numRuns: 400 });
});

test("documents: what is large keeps nothing but the usage", () => {
  const reader = new DocumentReader("usage");
  reader.push(Buffer.from('{"usage_of_a_very_long_name_that_nobody_asked_for":1,"data":"'));
  for (let i = 0; i < 8; i++) reader.push(Buffer.alloc(1 << 20, "x"));
  reader.push(Buffer.from('","usage":{"prompt_tokens":8}}'));
  assert.deepEqual(reader.get("usage"), { prompt_tokens: 8 });
});

test("usage: any objects are taken, and amounts are whole and in range", () => {
  fc.assert(fc.property(fc.constantFrom(...wires), fc.array(fc.object({
    key: fc.constantFrom("prompt_tokens", "input_tokens", "output_tokens", "completion_tokens", "input_tokens_details", "prompt_tokens_details", "cached_tokens", "cache_read_input_tokens"),
    maxDepth: 2,
  })), (wire, objects) => {
    const usage = new UsageReader(wire);
    for (const o of objects) usage.add(o);
    for (const n of Object.values(usage.used ?? {})) assert.ok(Number.isInteger(n) && n >= 0 && n <= 1e12);
  }), { numRuns: 300 });
});

test("a member is set and the rest of the text stays as it was", () => {
  fc.assert(fc.property(fc.object({ key: fc.constantFrom("model", "x", "", "\\", '"'), maxDepth: 3 }), fc.jsonValue(), fc.constantFrom(0, 1), (o, v, indent) => {
    const text = JSON.stringify(o, null, indent);
    const want = JSON.parse(text);
    want.model = JSON.parse(JSON.stringify(v));
    assert.deepEqual(JSON.parse(withMember(text, "model", v)), want);
  }), { numRuns: 400 });
  assert.equal(withMember('{ "seed": 9007199254740993, "mod\\u0065l":"a" }', "model", "b"), '{ "seed": 9007199254740993, "mod\\u0065l":"b" }');
  assert.equal(withMember("{ }", "model", "b"), '{"model":"b" }');
});

test("observations: bodies are at most 4,096 bytes of UTF-8, whatever they are", () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 4000, maxLength: 9000 }), (bytes) => {
    const { body } = observe(500, [], bytes);
    assert.ok(Buffer.byteLength(body) <= 4096);
  }), { numRuns: 200 });
});

test("the ratio covers what was seen", () => {
  const ratios = new Ratios();
  assert.equal(ratios.input("gpt-5", 100), 120);
  assert.equal(ratios.input("claude-sonnet-5", 100), 150);
  assert.equal(ratios.input("gpt-5", 100, true), 104);
  ratios.learn("gpt-5", 49, 490);
  assert.equal(ratios.factor("gpt-5"), 1.2, "too small to tell");
  ratios.learn("gpt-5", 100, 180);
  // d = 0.1 + (0.8 − 0.1)/8, r = 1 + 0.8/8
  assert.ok(Math.abs(ratios.factor("gpt-5") - (1.1 + 2 * 0.1875)) < 1e-9);
  for (let i = 0; i < 100; i++) ratios.learn("gpt-5", 100, 5000);
  assert.equal(ratios.factor("gpt-5"), 8);
  for (let i = 0; i < 200; i++) ratios.learn("gpt-5", 100, 1);
  assert.equal(ratios.factor("gpt-5"), 0.5);
});

test("headers of a call", () => {
  const of = (h: Record<string, string>) => callHeaders(new Headers(Object.entries(h).map(([k, v]) => [`x-watermaster-${k}`, v])));
  assert.deepEqual(of({ project: "p", "priority-class": "batch", route: "r", "request-id": "i", "affinity-key": "k", "max-wait": "1.5", "min-quality": "0.25" }), {
    project: "p", priorityClass: "batch", route: "r", requestId: "i", affinityKey: "k", maxWait: 1.5, minQuality: 0.25,
  });
  for (const [value, want] of [["0", 0], ["500ms", 0.5], ["2m", 120], ["1h30m", 5400], ["1.5s", 1.5]] as const) {
    assert.ok(Math.abs(of({ "max-wait": value }).maxWait! - want) < 1e-9, value);
  }
  for (const value of ["-1", "soon", "1d", "1e3", "25h", "5 m", "NaN"]) assert.throws(() => of({ "max-wait": value }), RangeError, value);
  for (const value of ["-0.1", "1.1", "high"]) assert.throws(() => of({ "min-quality": value }), RangeError, value);
  assert.throws(() => of({ "request-id": "x".repeat(129) }), RangeError);
  assert.deepEqual(of({ project: "" }), {});
});

test("how long a provider asks to wait", () => {
  const now = Date.UTC(2026, 0, 1);
  const of = (h: Record<string, string>) => retryAfter(new Headers(h), now);
  assert.equal(of({ "retry-after": "7" }), 7);
  assert.equal(of({ "retry-after": "7", "retry-after-ms": "6500" }), 6.5);
  assert.equal(of({ "retry-after": "Thu, 01 Jan 2026 00:00:30 GMT" }), 30);
  assert.equal(of({ "retry-after": "never" }), undefined);
  assert.equal(of({}), undefined);
});

test("what was not sent", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  const refused = await globalThis.fetch(`http://127.0.0.1:${port}/`).then(() => undefined, (e: unknown) => e);
  const unknown = await globalThis.fetch("http://nowhere.invalid/").then(() => undefined, (e: unknown) => e);
  assert.equal(unsent(refused), true);
  assert.equal(unsent(unknown), true);
  assert.equal(unsent(new TypeError("fetch failed", { cause: Object.assign(new Error(), { code: "UND_ERR_SOCKET" }) })), false);
  assert.equal(unsent("x"), false);
});

test("vocabularies count what they are for, and estimate until they are loaded", async () => {
  assert.equal(vocabularyOf("gpt-5-mini"), "o200k");
  assert.equal(vocabularyOf("o3"), "o200k");
  assert.equal(vocabularyOf("o30x"), undefined);
  assert.equal(vocabularyOf("text-embedding-3-small"), "cl100k");
  assert.equal(vocabularyOf("claude-sonnet-5"), undefined);
  assert.equal(counter("auto", "gpt-5").exact, false);
  const { countTokens } = await import("gpt-tokenizer/encoding/o200k_base");
  load("auto", "gpt-5");
  while (!counter("auto", "gpt-5").exact) await new Promise(setImmediate);
  const { count } = counter("auto", "gpt-5");
  assert.equal(count("The capital of France is Paris."), countTokens("The capital of France is Paris."));
  assert.equal(count("<|endoftext|>"), countTokens("<|endoftext|>", { disallowedSpecial: new Set() }));
  assert.equal(counter("none", "gpt-5").exact, false);
  assert.equal(counter((model, text) => model.length + text.length, "abc").count("de"), 5);
  assert.equal(counter(() => { throw new Error("broken"); }, "abc").count("de fg"), tokens("de fg"));
  assert.equal(counter(() => NaN, "abc").count("de fg"), tokens("de fg"));
});
