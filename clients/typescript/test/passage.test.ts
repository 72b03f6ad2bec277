import assert from "node:assert/strict";
import { test } from "node:test";
import { beginning, passage, type Passing } from "../src/passage.js";
import { collected } from "./garbage.js";
import { until } from "./world.js";

const text = (s: string) => new TextEncoder().encode(s);

/** A body whose pieces are given one by one. */
function source() {
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  let pulls = 0, cancelled: unknown;
  const body = new ReadableStream<Uint8Array>({
    start(c) { controller = c; },
    pull() { pulls++; },
    cancel(reason) { cancelled = reason ?? "no reason"; },
  }, { highWaterMark: 0 });
  return { body, give: (s: string) => controller.enqueue(text(s)), end: () => controller.close(), break: (e: unknown) => controller.error(e), get pulls() { return pulls; }, get cancelled() { return cancelled; } };
}

function all(): Passing & { ended: boolean } {
  return { ended: false, push(chunk) { if (Buffer.from(chunk).includes("END")) this.ended = true; return [chunk]; }, finish: () => [] };
}

test("a body passes as it comes, and ends its call once", async () => {
  const from = source(), ends: boolean[] = [];
  const reader = passage(from.body, all(), (whole) => ends.push(whole)).getReader();
  from.give("a");
  assert.deepEqual((await reader.read()).value, text("a"));
  from.give("b");
  assert.deepEqual((await reader.read()).value, text("b"));
  assert.deepEqual(ends, []);
  from.end();
  assert.equal((await reader.read()).done, true);
  assert.deepEqual(ends, [true]);
});

test("an end that is told ends the call before the connection does", async () => {
  const from = source(), ends: boolean[] = [];
  const reader = passage(from.body, all(), (whole) => ends.push(whole)).getReader();
  from.give("END");
  await reader.read();
  assert.deepEqual(ends, [true]);
  await reader.cancel();
  assert.deepEqual(ends, [true]);
});

test("nothing is read before it is asked for", async () => {
  const from = source();
  const reader = passage(from.body, all(), () => {}).getReader();
  await new Promise(setImmediate);
  assert.equal(from.pulls, 0);
  const read = reader.read();
  await new Promise(setImmediate);
  assert.equal(from.pulls, 1);
  from.give("a");
  await read;
  await new Promise(setImmediate);
  assert.equal(from.pulls, 1);
});

test("a break and a cancel are passed on and tell that the end is unknown", async () => {
  const broken = source(), cancelled = source(), ends: boolean[] = [];
  const reader = passage(broken.body, all(), (whole) => ends.push(whole)).getReader();
  const failure = new Error("reset");
  broken.break(failure);
  await assert.rejects(reader.read(), (e) => e === failure);
  await passage(cancelled.body, all(), (whole) => ends.push(whole)).cancel("enough");
  assert.equal(cancelled.cancelled, "enough");
  assert.deepEqual(ends, [false, false]);
});

test("the request's signal ends the call, though nobody reads on", async () => {
  const from = source(), ends: boolean[] = [], given = new AbortController();
  const body = passage(from.body, all(), (whole) => ends.push(whole), given.signal);
  given.abort();
  assert.deepEqual(ends, [false]);
  await body.cancel();
  assert.deepEqual(ends, [false]);
});

test("a body that is let go of ends its call and lets go of the connection", async () => {
  const from = source(), ends: boolean[] = [];
  const { signal } = new AbortController(); // it lives longer
  await (async () => {
    const reader = passage(from.body, all(), (whole) => ends.push(whole), signal).getReader();
    from.give("a");
    await reader.read();
  })();
  assert.deepEqual(ends, []);
  await until(async () => {
    await collected();
    return ends.length > 0;
  }, "the body is collected");
  assert.deepEqual(ends, [false]);
  await new Promise(setImmediate);
  assert.equal(from.cancelled, "no reason");
  assert.equal(signal.aborted, false);
});

test("a body in use is kept", async () => {
  const from = source(), ends: boolean[] = [];
  const response = new Response(passage(from.body, all(), (whole) => ends.push(whole)));
  for (let i = 0; i < 3; i++) await collected();
  assert.deepEqual(ends, []);
  from.give("a");
  from.end();
  assert.equal(await response.text(), "a");
  assert.deepEqual(ends, [true]);
});

test("the beginning of an error's body is read, and all of it is handed on", async () => {
  const small = await beginning(new Response("oh").body);
  assert.equal(Buffer.from(small.head).toString(), "oh");
  assert.equal(await new Response(small.body).text(), "oh");
  assert.equal((await beginning(null)).head.length, 0);

  const mega = "x".repeat((1 << 20) + 100);
  const large = await beginning(new Blob([mega, mega]).stream());
  assert.ok(large.head.length >= 1 << 20 && large.head.length < 2 << 20);
  assert.equal((await new Response(large.body).text()).length, 2 * mega.length);

  let pulls = 0;
  const cut = await beginning(new ReadableStream<Uint8Array>({
    pull(controller) {
      if (pulls++ === 0) controller.enqueue(text("part"));
      else controller.error(new Error("reset"));
    },
  }));
  const reader = (cut.body as ReadableStream<Uint8Array>).getReader();
  assert.deepEqual((await reader.read()).value, Buffer.from("part"));
  await assert.rejects(reader.read(), /reset/);
});
