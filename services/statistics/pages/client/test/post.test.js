import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
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

test("a post that is aborted while it waits is not tried again, and its program ends", { timeout: 20e3 }, async (t) => {
  const server = await serve(t, refusal(503, "Redis is away", { "Retry-After": "30" }));
  const program = spawn(process.execPath, ["--input-type=module", "--eval", `
    import { post } from ${JSON.stringify(new URL("../livecomments.js", import.meta.url))};
    const ending = new AbortController();
    setTimeout(() => ending.abort(), 1000);
    await post({ url: ${JSON.stringify(server.url)}, video: "demo", user: "me", comment: "hello", signal: ending.signal })
      .catch(({ name }) => (process.exitCode = name === "AbortError" ? 0 : 2));`], { stdio: "inherit" });
  t.after(() => program.kill());
  assert.deepEqual(await once(program, "exit"), [0, null]);
  assert.equal(server.requests.length, 1);
});

test("a post that would have to wait for long is given up", { timeout: 20e3 }, async (t) => {
  const server = await serve(t, refusal(503, "Redis is away", { "Retry-After": "3600" }));
  await assert.rejects(hello(server.url), { message: "Redis is away", status: 503 });
  assert.equal(server.requests.length, 1);
});

test("a post without a token is rejected with what was wrong with it", async (t) => {
  const server = await serve(t, created);
  for (const { why, message } of [{ why: undefined, message: "no token" }, { why: "signed out", message: "signed out" }, { why: Error("away"), message: "away" }]) {
    await assert.rejects(hello(server.url, { getToken: () => Promise.reject(why) }), { name: "Error", message });
  }
  assert.equal(server.requests.length, 0);
});

test("a post's token that is refused is replaced once", async (t) => {
  const server = await serve(t, refusal(401, "expired"), created);
  await hello(server.url, { getToken: async (refused) => (refused ? "fresh" : "old") });
  assert.deepEqual(server.requests.map(({ headers }) => headers.authorization), ["Bearer old", "Bearer fresh"]);
});
