import assert from "node:assert/strict";
import { test } from "node:test";
import { post } from "../livecomments.js";
import { refusal, serve } from "./server.js";

const stored = { id: "1-0", userid: "me", videoid: "demo", comment: "hello", timestamp: "2026-11-27T12:00:00Z" };
const created = (response) => response.writeHead(201, { "Content-Type": "application/json" }).end(JSON.stringify({ success: true, comment: stored }));
const hello = (url, options) => post({ url, video: "demo", user: "me", comment: "hello", ...options });

test("a post resolves to the comment as it is stored", async (t) => {
  const server = await serve(t, created);
  assert.deepEqual(await hello(server.url), stored);
  assert.deepEqual(JSON.parse(server.requests[0].body), { userid: "me", videoid: "demo", comment: "hello" });
});

test("a post is tried again under the same key, and another post has another", async (t) => {
  const server = await serve(t, refusal(503, "Redis is away"), (response) => response.destroy(), created);
  assert.deepEqual(await hello(server.url), stored);
  await hello(server.url);
  await hello(server.url, { key: "mine" });
  const [first, second, third, other, mine] = server.requests.map(({ headers }) => headers["idempotency-key"]);
  assert.equal(second, first);
  assert.equal(third, first);
  assert.notEqual(other, first);
  assert.equal(mine, "mine");
});

test("a post that is wrong is rejected with what was wrong, at once", async (t) => {
  for (const status of [400, 401, 413]) {
    const server = await serve(t, refusal(status, "that was wrong"));
    await assert.rejects(hello(server.url), { message: "that was wrong", status });
    assert.equal(server.requests.length, 1);
  }
});

test("a post is given up after five attempts", async (t) => {
  const server = await serve(t, refusal(503, "Redis is away"));
  await assert.rejects(hello(server.url), { message: "Redis is away", status: 503 });
  assert.equal(server.requests.length, 5);
});

test("a post that is aborted while it waits is not tried again", async (t) => {
  const ending = new AbortController();
  const server = await serve(t, (response) => {
    refusal(503, "Redis is away", { "Retry-After": "1" })(response);
    setTimeout(() => ending.abort(), 100);
  });
  await assert.rejects(hello(server.url, { signal: ending.signal }), { name: "AbortError" });
  assert.equal(server.requests.length, 1);
});

test("a post's token that is refused is replaced once", async (t) => {
  const server = await serve(t, refusal(401, "expired"), created);
  await hello(server.url, { getToken: async (refused) => (refused ? "fresh" : "old") });
  assert.deepEqual(server.requests.map(({ headers }) => headers.authorization), ["Bearer old", "Bearer fresh"]);
});
