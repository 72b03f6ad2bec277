import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { DocumentReader } from "../src/document.js";
import { EventReader } from "../src/events.js";
import { observe } from "../src/observation.js";
import { refusal } from "../src/refusal.js";
import { inputOf, meteredWire, readBody, withUsage } from "../src/request.js";
import { follow } from "../src/target.js";
import { UsageReader, type Used } from "../src/usage.js";
import type { Wire } from "../src/wire.js";

// The cases are read from JSON, so their types are only what the files' README says.
type Case = any; // eslint-disable-line @typescript-eslint/no-explicit-any

function cases(file: string): Case[] {
  return JSON.parse(readFileSync(new URL(`../../testdata/${file}.json`, import.meta.url), "utf8"));
}

function snake(used: Used | undefined): Record<string, number> | null {
  if (used === undefined) return null;
  return Object.fromEntries(Object.entries(used).map(([k, v]) => [k.replace(/[A-Z]/g, (c) => "_" + c.toLowerCase()), v]));
}

test("requests", async (t) => {
  for (const c of cases("requests")) {
    await t.test(c.name, () => {
      const url = new URL(c.url);
      const wire = meteredWire(c.method, url);
      const read = wire && readBody(wire, url, c.body);
      if (read === undefined) return assert.equal(c.want, null);
      const { tokens, textOnly } = inputOf(read);
      assert.deepEqual({
        wire: read.wire, model: read.model, max_output_tokens: read.maxOutputTokens ?? null, input_tokens: tokens,
        text_only: textOnly, stream: read.stream, add_usage: read.addUsage, units: read.units,
      }, c.want);
      if (read.addUsage) {
        const body = JSON.parse(withUsage(read.text, read.body));
        assert.deepEqual(body, { ...JSON.parse(c.body), stream_options: { ...read.body["stream_options"] as object, include_usage: true } });
      }
    });
  }
});

/** Every way to cut small texts in two, every byte alone, and pieces of some sizes. */
function* cuts(bytes: Uint8Array): Generator<Uint8Array[]> {
  yield [bytes];
  for (let at = 1; at < bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)];
  for (const size of [1, 2, 3, 7, 64]) {
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
    yield pieces;
  }
}

test("usage", async (t) => {
  for (const c of cases("usage")) {
    await t.test(`${c.stream ? "stream" : "plain"}: ${c.name}`, () => {
      for (const pieces of cuts(Buffer.from(c.body))) {
        if (!c.stream) {
          const reader = new DocumentReader("usage", "id");
          for (const p of pieces) reader.push(p);
          const usage = new UsageReader(c.wire);
          usage.add(reader.get("usage"));
          assert.deepEqual({ usage: snake(usage.used) }, c.want);
          continue;
        }
        const reader = new EventReader(c.wire, c.hide);
        const out = pieces.flatMap((p) => reader.push(p));
        out.push(...reader.finish());
        const failure = reader.failure === undefined ? null : { status: reader.failure.status, body: reader.failure.error };
        assert.deepEqual({
          usage: snake(reader.used), ended: reader.ended, failure, forwarded: Buffer.concat(out).toString(),
        }, c.want);
      }
    });
  }
});

test("targets", async (t) => {
  for (const c of cases("targets")) {
    await t.test(c.name, () => {
      const url = new URL(c.url);
      const request = readBody(c.wire as Wire, url, JSON.stringify(c.body));
      assert.ok(request);
      const got = follow(request, url, new Headers(c.headers), c.target, { account: c.account, keys: c.keys }, c.route);
      if (c.want === null) return assert.equal(got, undefined);
      assert.ok(got, "not followed");
      assert.equal(got.url, c.want.url);
      for (const name in c.want.headers) assert.equal(got.headers.get(name), c.want.headers[name], name);
      for (const name of c.want.absent) assert.equal(got.headers.get(name), null, name);
      assert.deepEqual(JSON.parse(got.text), { ...c.body, model: c.want.model });
    });
  }
});

test("refusals", async (t) => {
  for (const c of cases("refusals")) {
    await t.test(c.name, async () => {
      const r = c.rejected;
      const got = refusal(c.wire, c.request_id, {
        reason: r.reason, retryAfter: r.retry_after ?? undefined, message: r.message,
        binding: r.binding.map((b: Case) => ({ ...b, window: b.window ?? undefined })),
      });
      assert.equal(got.status, c.want.status);
      for (const name in c.want.headers) assert.equal(got.headers.get(name), c.want.headers[name], name);
      for (const name of c.want.absent) assert.equal(got.headers.get(name), null, name);
      assert.deepEqual(await got.json(), c.want.body);
    });
  }
});

test("observations", async (t) => {
  for (const c of cases("observations")) {
    await t.test(c.name, () => {
      const got = observe(c.status, Object.entries<string>(c.headers), Buffer.from(c.body));
      assert.deepEqual({ headers: got.headers, body: got.body }, c.want);
    });
  }
});
