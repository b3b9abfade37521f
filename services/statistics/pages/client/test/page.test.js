// What a page's being hidden and coming online does, by hand: a browser does not hide pages for tests.
import assert from "node:assert/strict";
import { test } from "node:test";
import { watch } from "../livecomments.js";
import { comment, connected, end, event, refusal, serve, stream } from "./server.js";

const window = new EventTarget();
globalThis.addEventListener = window.addEventListener.bind(window);
globalThis.document = Object.assign(new EventTarget(), { hidden: false });
globalThis.requestAnimationFrame = setImmediate;
globalThis.cancelAnimationFrame = clearImmediate;

function show(shown) {
  document.hidden = !shown;
  document.dispatchEvent(new Event("visibilitychange"));
}

const turn = () => new Promise(setImmediate);

test("a page that is shown again gets the newest comments, and knows how many it has not got", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] }); // nothing is handed over by the clock
  const all = Array.from({ length: 5000 }, (_, i) => `${i + 1}-0`);
  const { url } = await serve(t, stream(connected("0-1"), ...all.map((id) => comment(id)), end));
  show(false);
  const watched = watch({ url, video: "demo", user: "me" });
  t.after(() => watched.close());
  const got = [], frames = [];
  let skipped = 0;
  watched.addEventListener("comment", ({ detail }) => got.push(detail.id));
  watched.addEventListener("comments", ({ detail }) => frames.push(...detail.map(({ id }) => id)));
  watched.addEventListener("skipped", ({ detail: { count, by } }) => by === "client" && (skipped += count));
  while (watched.state !== "waiting") await turn();
  assert.deepEqual(got, [], "while it is hidden");

  show(true);
  assert.equal(got.length + skipped, all.length);
  assert(got.length <= 2000, `${got.length} were held`);
  assert.deepEqual(got, all.slice(-got.length));
  assert.deepEqual(frames, got);
});

test("a page that is hidden for long holds little of what is not a comment, and counts what was left out once", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const rounds = Array.from({ length: 3000 }, (_, i) =>
    comment(`${i + 1}-0`) + connected("0-1") + event("skipped", "", { count: 2 }) + event("gap", "", {}));
  const { url } = await serve(t, stream(...rounds, event("deleted", "", { id: "1-0" }), end));
  show(false);
  const watched = watch({ url, video: "demo", user: "me" });
  t.after(() => watched.close());
  const told = { comment: 0, state: 0, skipped: 0, gap: 0, deleted: 0 }, skipped = { client: 0, reader: 0 };
  for (const name of Object.keys(told)) watched.addEventListener(name, () => told[name]++);
  watched.addEventListener("skipped", ({ detail: { count, by = "reader" } }) => (skipped[by] += count));
  while (watched.state !== "waiting") await turn();

  show(true);
  assert(Object.values(told).reduce((sum, count) => sum + count) <= 2000, JSON.stringify(told));
  assert.equal(told.comment + skipped.client, rounds.length);
  assert.equal(skipped.reader, 2 * rounds.length);
  assert(told.gap && told.state && told.deleted, JSON.stringify(told));
});

test("a page whose frames are not drawn, because it is out of sight in another, gets its comments all the same", async (t) => {
  t.mock.method(globalThis, "requestAnimationFrame", () => 0);
  const { url } = await serve(t, stream(connected("1-0"), comment("2-0")));
  const watched = watch({ url, video: "demo", user: "me" });
  t.after(() => watched.close());
  for await (const { id } of watched) {
    assert.equal(id, "2-0");
    break;
  }
});

test("a page that comes online does not wait any longer", async (t) => {
  const { url } = await serve(t, refusal(503, "full", { "Retry-After": "3600" }), stream(connected("1-0")));
  const watched = watch({ url, video: "demo", user: "me" });
  t.after(() => watched.close());
  while (watched.state !== "waiting") await turn();
  window.dispatchEvent(new Event("online"));
  while (watched.state !== "open") await turn();
});

test("a page that comes online again leaves a connection of before, which may be dead", async (t) => {
  const server = await serve(t, stream(connected("1-0"), comment("2-0")), stream(connected("2-0"), comment("3-0")));
  const watched = watch({ url: server.url, video: "demo", user: "me" });
  t.after(() => watched.close());
  const got = [];
  for await (const { id } of watched) {
    got.push(id);
    if (id === "2-0") window.dispatchEvent(new Event("online"));
    else break;
  }
  assert.deepEqual(got, ["2-0", "3-0"]);
});
