// What tabs tell each other. Node has the channel; where it has no locks, these are as good for tabs of one process.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { watch } from "../livecomments.js";
import { comment, connected, event, serve } from "./server.js";

const holders = new Map();
const locks = {
  async request(name, { signal }, hold) {
    const turn = (holders.get(name) ?? Promise.resolve()).then(() => {
      signal.throwIfAborted();
      return hold();
    });
    holders.set(name, turn.catch(() => {}));
    return turn;
  },
};
Object.defineProperty(globalThis, "navigator", { value: { locks } });

/** A stream that says more when it is told to. */
async function reader(t) {
  let response;
  const { url } = await serve(t, (opened) => (response = opened).writeHead(200, { "Content-Type": "text/event-stream" }).write(connected("99-0")));
  return { url, say: (...events) => response.write(events.join("")) };
}

/** What a viewer sees in a tab of its own. */
function tab(t, url, options) {
  const watched = watch({ url, video: "demo", user: "me", share: true, ...options });
  t.after(() => watched.close());
  const told = [];
  watched.addEventListener("comment", ({ detail }) => told.push(detail.id));
  watched.addEventListener("gap", () => told.push("gap"));
  return {
    watched, told,
    async until(last) {
      while (told.at(-1) !== last) await once(watched, "comments");
    },
    async untilOpen() {
      while (watched.state !== "open") await once(watched, "state");
    },
  };
}

test("a tab that joins after a gap sees no comments as if none were missing between them", async (t) => {
  for (const { gap, after } of [
    { gap: event("gap", "", { type: "gap" }), after: ["501-0", "502-0"] },
    { gap: event("gap", "500-0", { type: "gap" }), after: ["501-0", "502-0"] },
    { gap: event("gap", "5-0", { type: "gap" }), after: ["6-0", "7-0"] }, // ids begin anew
  ]) {
    const { url, say } = await reader(t);
    const first = tab(t, url);
    await first.untilOpen();
    say(comment("100-0"), comment("101-0"), gap, comment(after[0]));
    await first.until(after[0]);
    assert.deepEqual(first.told, ["100-0", "101-0", "gap", after[0]]);

    const second = tab(t, url, { history: 50 });
    await second.until(after[0]);
    say(comment(after[1]));
    await second.until(after[1]);
    assert.deepEqual(second.told, after);
  }
});

test("a tab that has missed a gap is told when it is back", async (t) => {
  for (const gap of [event("gap", "", { type: "gap" }), event("gap", "500-0", { type: "gap" })]) {
    const { url, say } = await reader(t);
    const first = tab(t, url);
    await first.untilOpen();
    say(comment("101-0"), gap);
    await once(first.watched, "gap");
    say(event("", "", { type: "connected", instance: "reader-1" }), comment("501-0"));
    await first.until("501-0");

    const channel = new BroadcastChannel(`livecomments ${url}/connect?userid=me&videoid=demo`);
    t.after(() => channel.close());
    const answer = new Promise((done) => (channel.onmessage = ({ data }) => data.to === "back" && done(data.items)));
    channel.postMessage({ from: "back", last: "101-0" });
    assert.deepEqual((await answer).map(([type, detail]) => detail.id ?? type), ["gap", "501-0", "state"]);
  }
});
