import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { watch } from "../livecomments.js";
import { comment, connected, end, event, refusal, serve, stream } from "./server.js";

/** What a viewer is told: texts of comments, and names of other events with what they say. */
function view(t, url, options) {
  const watched = watch({ url, video: "demo", user: "me", ...options });
  t.after(() => watched.close());
  const told = [], states = [];
  watched.addEventListener("comment", ({ detail }) => told.push(detail.comment));
  for (const name of ["gap", "skipped", "deleted"]) watched.addEventListener(name, ({ detail }) => told.push({ [name]: detail }));
  watched.addEventListener("state", ({ detail }) => states.push(detail));
  const until = async (event, holds) => {
    while (!holds()) await once(watched, event);
  };
  return {
    watched, told, states,
    untilTold: (count) => until("comments", () => told.length >= count),
    untilState: (holds) => until("state", () => states.some(holds)),
  };
}

test("a viewer sees each comment as it is stored, wherever the network cuts the stream", async (t) => {
  const texts = ["grüße 😀", "two\nlines: a"];
  const plain = ": heartbeat\n\n" + texts.map((text, i) => event("", `${i + 1}-0`, { comment: text })).join("") + ": and so on\n";
  for (const line of ["\n", "\r\n", "\r"]) {
    const bytes = Buffer.from(plain.replaceAll("\n", line));
    let cut = 0;
    const { url } = await serve(t, async (response) => {
      const at = ++cut;
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      response.write(bytes.subarray(0, at));
      await new Promise(setImmediate);
      response.write(bytes.subarray(at));
    });
    for (const _ of bytes) {
      const viewer = view(t, url);
      await viewer.untilTold(texts.length);
      assert.deepEqual(viewer.told, texts, `cut at ${cut}`);
      viewer.watched.close();
    }
  }
});

test("a comment has its id, its author, its video and its time", async (t) => {
  const { url } = await serve(t, stream(connected("1-0"), comment("2-0", "hello")));
  for await (const seen of view(t, url).watched) {
    assert.deepEqual(seen, { id: "2-0", userid: "you", videoid: "demo", comment: "hello", timestamp: "2026-11-27T12:00:00Z" });
    break;
  }
});

test("a viewer whose stream breaks misses nothing and sees nothing twice", async (t) => {
  const server = await serve(t,
    stream(connected("8-0"), comment("9-1"), comment("10-2"), end),
    (response) => response.destroy(),
    stream(connected("10-2"), comment("10-2"), comment("10-10"), comment("11-0")),
  );
  const viewer = view(t, server.url, { history: 5 });
  await viewer.untilTold(4);
  await viewer.untilState(({ caughtUp }) => caughtUp);
  assert.deepEqual(viewer.told, ["9-1", "10-2", "10-10", "11-0"]);
  assert.deepEqual(server.requests.map(({ url }) => url.search), [
    "?userid=me&videoid=demo&history=5",
    "?userid=me&videoid=demo&lastEventId=10-2",
    "?userid=me&videoid=demo&lastEventId=10-2",
  ]);
  assert.deepEqual(viewer.states.filter(({ state }) => state === "open"), [
    { state: "open", reader: "reader-1" }, { state: "open", reader: "reader-1" }, { state: "open", reader: "reader-1", caughtUp: 2 },
  ]);
});

test("a viewer that has seen no comment yet misses none that come while it is away", async (t) => {
  const server = await serve(t, stream(connected("8-0"), end), stream(connected("8-0"), comment("9-0")));
  await view(t, server.url).untilTold(1);
  assert.equal(server.requests[1].url.searchParams.get("lastEventId"), "8-0");
});

test("a viewer that was sent to another reader comes back to the door", async (t) => {
  const reader = await serve(t, stream(connected("1-0"), comment("2-0"), end), stream(connected("2-0"), comment("3-0")));
  const door = await serve(t, (response, request) => response.writeHead(307, { Location: `${reader.url}${request.url}&placed=mark` }).end());
  const viewer = view(t, door.url);
  await viewer.untilTold(2);
  assert.deepEqual(viewer.told, ["2-0", "3-0"]);
  assert.deepEqual(door.requests.map(({ url }) => url.searchParams.get("lastEventId")), [null, "2-0"]);
});

test("a viewer is told what is missing, left out and deleted, in its place", async (t) => {
  const { url } = await serve(t, stream(connected("1-0"), comment("2-0"), event("gap", "5-0", { type: "gap", videoid: "demo" }), comment("6-0"),
    event("skipped", "", { count: 3 }), event("deleted", "", { id: "2-0" }), event("something new", "", {}), comment("7-0")));
  const viewer = view(t, url);
  await viewer.untilTold(6);
  assert.deepEqual(viewer.told, ["2-0", { gap: { type: "gap", videoid: "demo" } }, "6-0", { skipped: { count: 3 } }, { deleted: { id: "2-0" } }, "7-0"]);
});

test("after a gap the ids may begin anew, when Redis has lost everything", async (t) => {
  const server = await serve(t,
    stream(connected("100-0"), comment("101-0"), end),
    stream(connected("5-0"), event("gap", "5-0", { type: "gap" }), comment("6-0"), end),
    stream(connected("6-0"), comment("7-0")),
  );
  const viewer = view(t, server.url);
  await viewer.untilTold(4);
  assert.deepEqual(viewer.told, ["101-0", { gap: { type: "gap" } }, "6-0", "7-0"]);
  assert.equal(server.requests[2].url.searchParams.get("lastEventId"), "6-0");
});

test("a gap that comes with a new beginning is told once", async (t) => {
  const { url } = await serve(t, stream(connected("100-0"), comment("101-0"), end),
    stream(connected("500-0"), event("gap", "500-0", { type: "gap" }), comment("501-0"), event("gap", "", { type: "gap" }), comment("503-0")));
  const viewer = view(t, url);
  await viewer.untilTold(5);
  assert.deepEqual(viewer.told.map((told) => told.gap ? "gap" : told), ["101-0", "gap", "501-0", "gap", "503-0"]);
});

test("what another publisher has sent disturbs nobody", async (t) => {
  const { url } = await serve(t, stream(connected("1-0"), "id: 2-0\ndata: no JSON\n\n", "id: nonsense\ndata: null\n\n", "data\n\n", comment("3-0")));
  const viewer = view(t, url);
  await viewer.untilTold(1);
  assert.deepEqual(viewer.told, ["3-0"]);
});

test("an event that does not end is not waited for", async (t) => {
  for (const endless of ["data: " + "x".repeat(3e6), "data: x\n".repeat(1e6)]) {
    const { url } = await serve(t, stream(connected("1-0"), endless), stream(connected("1-0"), comment("2-0")));
    const viewer = view(t, url);
    await viewer.untilTold(1);
    assert.equal(viewer.states.find(({ state }) => state === "waiting").reason, "an event without end");
  }
});

test("a refused viewer waits as long as it is told, and says why", async (t) => {
  for (const { answer, reason, atLeast } of [
    { answer: refusal(503, "this reader is full", { "Retry-After": "2" }), reason: "this reader is full", atLeast: 2000 },
    { answer: refusal(429, "too many", { "Retry-After": new Date(Date.now() + 60e3).toUTCString() }), reason: "too many", atLeast: 50e3 },
    { answer: refusal(408, ""), reason: "408 Request Timeout", atLeast: 0 },
    { answer: (response) => response.end("<html>"), reason: "not an event stream", atLeast: 0 },
    { answer: (response) => response.destroy(), reason: "fetch failed", atLeast: 0 },
    { answer: stream(event("reconnect", "", { type: "reconnect", reason: "drain", retryMillis: 1234 })), reason: "drain", atLeast: 1234 },
  ]) {
    const { url } = await serve(t, answer);
    const viewer = view(t, url);
    await viewer.untilState(({ state }) => state === "waiting");
    const waiting = viewer.states.find(({ state }) => state === "waiting");
    assert.equal(waiting.reason, reason);
    assert(waiting.retryInMs >= atLeast && waiting.retryInMs <= atLeast + 20e3, `${reason}: ${waiting.retryInMs} ms`);
    viewer.watched.close();
  }
});

test("a viewer that does something wrong is told, and does not try again", async (t) => {
  for (const status of [400, 401, 403, 404]) {
    const server = await serve(t, refusal(status, "that was wrong"));
    const viewer = view(t, server.url);
    await assert.rejects(async () => { for await (const _ of viewer.watched); }, { message: "that was wrong", status });
    assert.equal(viewer.watched.state, "closed");
    assert.deepEqual(viewer.states.at(-1), { state: "closed", reason: "that was wrong", status });
    assert.equal(server.requests.length, 1);
  }
  assert.throws(() => watch({ url: "nowhere", video: "demo", user: "me" }), TypeError);
});

test("a token that is refused is replaced once", async (t) => {
  const asked = [];
  const getToken = async (refused) => {
    asked.push(refused);
    return `token-${asked.length}`;
  };
  const server = await serve(t, refusal(401, "expired"), stream(connected("1-0"), comment("2-0"), end), refusal(401, "expired"), refusal(401, "unknown"));
  const viewer = view(t, server.url, { getToken });
  await viewer.untilState(({ state }) => state === "closed");
  assert.deepEqual(asked, [undefined, "token-1", undefined, "token-3"]);
  assert.deepEqual(server.requests.map(({ headers }) => headers.authorization), [1, 2, 3, 4].map((n) => `Bearer token-${n}`));
  assert.equal(viewer.states.at(-1).reason, "unknown");
});

test("a viewer without tokens for a while gets in when there are some again", async (t) => {
  let calls = 0;
  const { url } = await serve(t, stream(connected("1-0"), comment("2-0")));
  const viewer = view(t, url, { getToken: async () => (calls++ ? "token" : Promise.reject()) });
  await viewer.untilTold(1);
});

test("a token that does not come is not waited for", async (t) => {
  let calls = 0;
  const { url } = await serve(t, stream(connected("1-0"), comment("2-0")));
  const viewer = view(t, url, { getToken: () => (calls++ ? Promise.resolve("token") : new Promise(() => {})), heartbeat: 400 });
  await viewer.untilTold(1);
  assert.equal(viewer.states.find(({ state }) => state === "waiting").reason, "silent");
});

test("a reader that falls silent is left, and nothing is missing", async (t) => {
  const server = await serve(t, stream(connected("1-0"), comment("2-0")), () => {}, stream(connected("2-0"), comment("3-0")));
  const viewer = view(t, server.url, { heartbeat: 400 });
  await viewer.untilTold(2);
  assert.deepEqual(viewer.told, ["2-0", "3-0"]);
  assert.deepEqual(viewer.states.filter(({ state }) => state === "waiting").slice(0, 2).map(({ reason }) => reason), ["silent", "silent"]);
});

test("heartbeats keep a quiet stream", async (t) => {
  const server = await serve(t, async (response) => {
    stream(connected("1-0"))(response);
    for (let beat = 0; beat < 25; beat++) {
      await new Promise((done) => setTimeout(done, 100));
      response.write(": heartbeat\n\n");
    }
    response.write(comment("2-0"));
  });
  await view(t, server.url, { heartbeat: 800 }).untilTold(1);
  assert.equal(server.requests.length, 1);
});

test("a slow loop gets the newest comments, and knows how many it has not got", async (t) => {
  const all = Array.from({ length: 5000 }, (_, i) => `${i + 1}-0`);
  const { url } = await serve(t, stream(connected("0-1"), ...all.map((id) => comment(id))));
  const viewer = view(t, url);
  let skipped = 0, told;
  viewer.watched.addEventListener("skipped", ({ detail }) => (skipped += detail.count));
  const got = [];
  for await (const { id } of viewer.watched) {
    got.push(id);
    told ??= viewer.untilTold(all.length);
    await told;
    if (id === all.at(-1)) break;
  }
  assert.equal(got.length + skipped, all.length);
  assert(got.length <= 1001 && skipped > 0, `${got.length} were held`);
});

test("a stream that is closed says so, and hands over no more", async (t) => {
  for (const how of ["close", "abort", "abort before"]) {
    const { url } = await serve(t, stream(connected("1-0"), comment("2-0"), comment("3-0")));
    const ending = new AbortController();
    if (how === "abort before") ending.abort();
    const { watched, told, states } = view(t, url, { signal: ending.signal });
    watched.addEventListener("comment", () => (how === "close" ? watched.close() : ending.abort()));
    for await (const _ of watched);
    assert.equal(watched.state, "closed");
    assert.deepEqual(told, how === "abort before" ? [] : ["2-0"]);
    if (told.length) assert.deepEqual(states.at(-1), { state: "closed", reason: "close" });
  }
});

test("a program whose stream is closed ends", async (t) => {
  for (const answer of [stream(connected("1-0"), comment("2-0")), refusal(503, "full", { "Retry-After": "3600" })]) {
    const { url } = await serve(t, answer);
    const program = spawn(process.execPath, ["--input-type=module", "--eval", `
      import { watch } from ${JSON.stringify(new URL("../livecomments.js", import.meta.url))};
      const stream = watch({ url: ${JSON.stringify(url)}, video: "demo", user: "me" });
      stream.addEventListener("state", ({ detail }) => detail.state !== "connecting" && stream.close());`], { stdio: "inherit" });
    t.after(() => program.kill());
    assert.deepEqual(await once(program, "exit"), [0, null]);
  }
});
