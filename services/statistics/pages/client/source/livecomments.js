// The client of livecomments: README.md says what it promises, livecomments.d.ts has its types.

/** @import * as api from "../livecomments.d.ts" */

const KEEP = 1000; // comments held for a hidden page, for a slow loop and for other tabs
const DAY = 864e5;
const PATIENCE = 30e3; // ms that who has posted is kept waiting at a server's wish

/** @type {typeof api.watch} */
export const watch = (options) => new Stream(options);

/** @type {typeof api.post} */
export async function post({ url, video, user, comment, signal, key = unique(), ...options }) {
  const to = address(url, "/comment");
  for (let failures = 0; ; failures++) {
    try {
      const response = await ask(to, options, {
        method: "POST",
        headers: { "Content-Type": "application/json", "Idempotency-Key": key },
        body: JSON.stringify({ userid: user, videoid: video, comment }),
        signal: AbortSignal.any([AbortSignal.timeout(1e4), ...(signal ? [signal] : [])]),
      });
      return (await response.json()).comment;
    } catch (error) {
      if (signal?.aborted || isFinal(error) || failures > 3 || error.after > PATIENCE) throw error;
      let timer;
      const pause = new Promise((done) => (timer = setTimeout(done, pauseAfter(error, 500, failures))));
      await heed(signal, pause).finally(() => clearTimeout(timer));
    }
  }
}

/** @implements {api.Stream} */
class Stream extends EventTarget {
  /** @type {api.State} */
  state = "connecting";
  #status = {}; // the last state event, for tabs that join
  #error; // why the server has refused
  #options;
  #door; // where every connect begins: the reader that it was sent to may be gone
  #limit; // ms of silence after which a connection is taken for dead
  #retry = 1000;
  #closing = new AbortController();
  #attempt = new AbortController();
  #wake = () => {};
  #due = 0; // when the wait for the next attempt ends

  #last = ""; // id to resume from
  #jumped = false; // after a gap ids may begin anew
  #lag; // least ms from a live comment's id to its arrival, by two clocks
  #queue = []; // not handed over yet
  #plan; // calls off the next hand-over

  #channel; // to the other tabs
  #news = []; // not told to them yet
  #held = []; // the newest comments, for those that join
  #floor = ""; // id after which none is missing in #held; none after a gap without one

  constructor(options) {
    super();
    const { url, video, user, signal, heartbeat = 15e3, share = typeof document === "object" } = (this.#options = options);
    this.#door = address(url, "/connect");
    this.#door.search = String(new URLSearchParams({ userid: user ?? "", videoid: video ?? "" }));
    this.#limit = 2.5 * heartbeat;
    const open = { signal: this.#closing.signal };
    signal?.addEventListener("abort", () => this.close(), open);
    globalThis.addEventListener?.("online", () => this.#again("online"), open);
    globalThis.document?.addEventListener("visibilitychange", () => this.#handOver(), open);
    if (signal?.aborted) this.close();
    else if (share && globalThis.navigator?.locks) this.#share(`livecomments ${this.#door}`);
    else this.#hold(open.signal);
  }

  close() {
    if (this.state === "closed") return;
    this.state = "closed";
    this.#queue = [];
    this.#closing.abort();
    this.#fire("state", { state: "closed", reason: "close" });
  }

  async *[Symbol.asyncIterator]() {
    let queue = [], wake;
    const take = (/** @type {any} */ { detail }) => {
      queue.push(...detail);
      const count = queue.length - KEEP;
      if (count > 0) {
        queue = queue.slice(count);
        this.#fire("skipped", { count, by: "client" });
      }
      wake?.();
    };
    const turn = (/** @type {any} */ { detail }) => {
      if (detail.reason === "close") queue = [];
      wake?.();
    };
    this.addEventListener("comments", take);
    this.addEventListener("state", turn);
    try {
      for (;;) {
        while (queue.length) yield queue.shift();
        if (this.state === "closed" && !this.#queue.length) break;
        await new Promise((done) => (wake = done));
      }
      if (this.#error) throw this.#error;
    } finally {
      this.removeEventListener("comments", take);
      this.removeEventListener("state", turn);
    }
  }

  // Has one connection after another, until signal ends it or the server refuses.
  async #hold(signal) {
    signal.addEventListener("abort", () => this.#again());
    for (let failures = 0; !signal.aborted; failures++) {
      const began = Date.now();
      this.#tell("state", { state: "connecting" });
      this.#send();
      const end = await this.#connect().catch(Object);
      if (signal.aborted) break;
      if (isFinal(end)) {
        this.#error = end;
        this.#accept(["state", { state: "closed", reason: end.message, status: end.status }]);
        return this.#closing.abort();
      }
      if (Date.now() - began > 1e4) failures = 0;
      const pause = end.pause ?? pauseAfter(end, this.#retry, failures);
      this.#due = Date.now() + pause;
      this.#tell("state", { state: "waiting", reason: end.message, retryInMs: Math.round(pause) });
      this.#send();
      await new Promise((done) => {
        const timer = setTimeout(done, pause);
        this.#wake = () => done(clearTimeout(timer));
      });
    }
  }

  // Ends the connection, or the wait for the next.
  #again(why) {
    this.#attempt.abort(Object.assign(Error(why), { pause: 0 }));
    this.#wake();
  }

  // Reads one event stream, and returns why it has ended.
  async #connect() {
    const attempt = (this.#attempt = new AbortController());
    const resumes = this.#last, { history = 0 } = this.#options;
    const url = new URL(this.#door);
    // In the query, because a header would cost a preflight at each reader.
    if (resumes) url.searchParams.set("lastEventId", resumes);
    else if (history) url.searchParams.set("history", history);

    let end = Error("ended"), silence, lull, opened, caughtUp = 0, catching = resumes || history;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => attempt.abort(Error("silent")), this.#limit);
    };
    // No event says where the past ends: it does before a comment that was posted when the stream was open, or in a lull.
    const settle = () => {
      catching = 0;
      clearTimeout(lull);
      if (resumes) this.#tell("state", { ...this.#status, caughtUp });
    };
    const awaitLull = () => {
      clearTimeout(lull);
      lull = setTimeout(() => {
        settle();
        this.#send();
      }, 1000);
    };
    const take = ({ event, id, data, retry }) => {
      if (retry > 0) this.#retry = +retry;
      let detail;
      try {
        detail = JSON.parse(data);
      } catch {} // of another publisher
      if (Object(detail) !== detail) return;
      if (!/^\d+-\d+$/.test(id)) id = "";
      if (event === "reconnect") end = Object.assign(Error(detail.reason), { pause: +detail.retryMillis || 0 });
      else if (/^(gap|skipped|deleted)$/.test(event)) this.#tell(event, detail, id);
      else if (event) return;
      else if (detail.type === "connected") {
        this.#tell("state", { state: "open", reader: detail.instance }, id);
        opened = Date.now();
        if (catching) awaitLull();
      } else {
        const posted = parseInt(id), lag = Date.now() - posted;
        if (catching && (posted + (this.#lag ?? 0) >= opened || (!resumes && caughtUp >= history))) settle();
        if (id && !catching) this.#lag = Math.min(this.#lag ?? lag, lag);
        if (this.#tell("comment", { ...detail, id }, id) && catching) {
          caughtUp++;
          awaitLull();
        }
      }
    };
    try {
      heard();
      const response = await ask(url, this.#options, { headers: { Accept: "text/event-stream" }, signal: attempt.signal });
      if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) throw Error("not an event stream");
      const parse = parser(take), decoder = new TextDecoder(), body = response.body.getReader();
      for (let part; !(part = await body.read()).done; ) {
        heard();
        parse(decoder.decode(part.value, { stream: true }));
        this.#send();
        if ("pause" in end) break;
      }
      return end;
    } finally {
      attempt.abort(); // also what was not read
      clearTimeout(silence);
      clearTimeout(lull);
    }
  }

  // Takes in what has come, and keeps it for the other tabs. It is false for what had come before.
  #tell(...item) {
    const isNew = this.#accept(item);
    if (isNew && this.#channel) this.#news.push(item);
    return isNew;
  }

  #send() {
    if (!this.#closing.signal.aborted) this.#channel?.postMessage({ items: this.#news });
    this.#news = [];
  }

  #accept(/** @type {any[]} */ [type, detail, id]) {
    // Another tab has begun anew, later than this one has ended.
    if (type === "state" && id && this.#last && isAfter(id, this.#last)) this.#accept(["gap", {}, id]);
    if (type === "gap" && this.#jumped && id && id === this.#last) return false; // the same gap, as the reader says it
    if (type === "comment") {
      if (id && !this.#jumped && !isAfter(id, this.#last)) return false;
      if (this.#channel && this.#held.push(detail) > KEEP) this.#floor = this.#held.shift().id;
    } else if (type === "gap") {
      // A tab that joins is not to take what is on both sides of it for whole, nor ids of before for later ones.
      this.#held = [];
      this.#floor = "";
    } else if (type === "deleted") this.#held = this.#held.filter((held) => held.id !== detail.id);
    else if (type === "state") {
      const { caughtUp, ...status } = detail;
      this.#status = status;
      this.state = detail.state;
    }
    if (id && (type === "gap" || this.#jumped || isAfter(id, this.#last))) this.#last = id;
    if (id && !this.#floor) this.#floor = this.#last;
    this.#jumped = type === "gap" || (this.#jumped && type !== "comment");
    if (this.#queue.push([type, detail]) > 2 * KEEP) this.#shorten();
    this.#plan ??= this.#soon();
    return true;
  }

  // Leaves out the oldest comments. What still matters of the rest is the last state, that there was a gap, and what is to vanish.
  #shorten() {
    const kept = new Map(), skipped = (count, by) => {
      const before = kept.get(by)?.[1].count ?? 0;
      kept.set(by, ["skipped", by ? { count: before + count, by } : { count: before + count }]);
    };
    for (const item of this.#queue.splice(0, KEEP)) {
      const [type, { count, by, id }] = item;
      if (type === "comment") skipped(1, "client");
      else if (type === "skipped") skipped(count, by);
      else kept.set(type + (type === "deleted" ? id : ""), item);
    }
    this.#queue.unshift(...kept.values());
  }

  // Hands over soon, and returns what calls that off.
  #soon() {
    const handOver = () => this.#handOver();
    if (typeof document !== "object") return queueMicrotask(handOver), () => {};
    // An iframe that is out of sight has no animation frames either, though it is not hidden.
    const timer = setTimeout(handOver, 1000), frame = document.hidden ? 0 : requestAnimationFrame(handOver);
    return () => {
      clearTimeout(timer);
      cancelAnimationFrame(frame);
    };
  }

  #handOver() {
    const queue = this.#queue;
    let comments = [];
    this.#queue = [];
    this.#plan?.();
    this.#plan = undefined;
    for (const [type, detail] of [...queue, []]) {
      if (type === "comment") comments.push(detail);
      else {
        for (const comment of comments) this.#fire("comment", comment);
        if (comments.length) this.#fire("comments", comments);
        comments = [];
        if (type) this.#fire(type, detail);
      }
    }
  }

  #fire(type, detail) {
    // A listener may have closed the stream.
    if (this.state !== "closed" || this.#error || type === "state") this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  // Of the tabs that watch the same, one has the lock and the stream. The others listen to it, and wait for their turn.
  async #share(name) {
    const channel = (this.#channel = new BroadcastChannel(name));
    const me = unique(), over = this.#closing.signal;
    let owner = false, joined = false, steal = false, turn, silence, wait;
    const join = () => {
      joined = false;
      channel.postMessage({ from: me, last: this.#last, history: this.#options.history });
    };
    const rest = () => {
      clearTimeout(silence);
      clearTimeout(wait);
    };
    const heard = () => {
      clearTimeout(silence);
      // The lock of a tab that is frozen or hangs is taken from it.
      silence = setTimeout(() => {
        steal = true;
        turn.abort();
      }, 3 * this.#limit);
    };
    channel.onmessage = ({ data }) => {
      if (owner) {
        if (data.from) this.#answer(data);
        // Timers of a hidden tab may be a minute late.
        if (data.due && Date.now() >= this.#due) this.#wake();
        return;
      }
      if (data.items) heard();
      if (data.began) join();
      else if (data.to ? data.to === me : joined && data.items) {
        joined = true;
        data.items.forEach((item) => this.#accept(item));
        clearTimeout(wait);
        if (this.#status.retryInMs) wait = setTimeout(() => channel.postMessage({ due: true }), this.#status.retryInMs);
      }
    };
    over.addEventListener("abort", () => {
      rest();
      turn.abort();
      channel.close();
    });
    while (!over.aborted) {
      turn = new AbortController();
      heard();
      join();
      const hold = async () => {
        owner = true;
        rest();
        channel.postMessage({ began: true });
        await this.#hold(turn.signal);
      };
      const options = steal ? { steal } : { signal: turn.signal };
      steal = false;
      await navigator.locks.request(name, options, hold).catch((error) => {
        if (error.name !== "AbortError") return this.#hold(over); // a page that may have no locks
      });
      owner = false;
      turn.abort();
    }
  }

  // Tells a tab that joins what it has not seen.
  #answer({ from, last, history }) {
    const missing = last && this.#last && (!this.#floor || isAfter(this.#floor, last));
    const items = history || last ? this.#held.filter(({ id }) => !last || isAfter(id, last)).slice(last ? 0 : -history) : [];
    this.#channel.postMessage({
      to: from,
      items: [
        ...(missing ? [["gap", {}]] : []),
        ...items.map((comment) => ["comment", comment, comment.id]),
        ["state", this.#status, last || items.length ? "" : this.#last],
      ],
    });
  }
}

// Splits an event stream into events. What it is called with may end anywhere.
function parser(take) {
  let rest = "", event = {};
  return (text) => {
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (!line) {
        if ("data" in event) take(event);
        event = {};
      }
      const [, field, value] = /^([^:]*):? ?(.*)/s.exec(line);
      event[field] = field === "data" && "data" in event ? event.data + "\n" + value : value;
    }
    if (rest.length + (event.data ?? "").length > 1e6) throw Error("an event without end");
  };
}

// Fetches, with a token where there are some. One that is refused is replaced once.
async function ask(url, /** @type {Partial<api.Options>} */ { getToken, credentials }, /** @type {RequestInit} */ init) {
  for (let refused; ; ) {
    const token = await heed(init.signal, getToken?.(refused)).catch((error) => {
      throw Object(error) === error ? error : Error(error ?? "no token");
    });
    const headers = token ? { ...init.headers, Authorization: `Bearer ${token}` } : init.headers;
    const response = await fetch(url, { ...init, headers, credentials, cache: "no-store" });
    if (response.ok) return response;
    const { status, statusText } = response, after = response.headers.get("Retry-After");
    const body = await response.json().catch(() => ({}));
    if (status !== 401 || !token || refused) {
      throw Object.assign(Error(body.error || `${status} ${statusText}`), {
        status, after: Math.max(0, (+after > -1 ? +after * 1000 : Date.parse(after) - Date.now()) || 0),
      });
    }
    refused = token;
  }
}

// Settles as promise does, or is rejected once signal is aborted.
async function heed(/** @type {AbortSignal | null | undefined} */ signal, promise) {
  const settled = new AbortController();
  const aborted = new Promise((_, reject) => {
    const abort = () => reject(signal.reason);
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { signal: settled.signal });
  });
  return Promise.race([promise, aborted]).finally(() => settled.abort());
}

const address = (url, path) => new URL(url.replace(/\/$/, "") + path, globalThis.location?.href);

const isFinal = ({ status }) => status >= 400 && status < 500 && status !== 408 && status !== 429;

// Full jitter, so that those who failed together do not come back together.
const pauseAfter = ({ after = 0 }, base, failures) =>
  Math.min(DAY, after + Math.random() * Math.max(base, Math.min(30e3, base * 2 ** failures)));

// By number: "9-1" comes before "10-0".
const isAfter = (id, than) => {
  const [a, b] = id.split("-"), [c, d] = than.split("-");
  return !than || a - c > 0 || (a === c && b - d > 0);
};

const unique = () => crypto.getRandomValues(new Uint32Array(4)).join("-");
