// The Watch page: the comments on a video as they come, and a box to post one.
import { post, watch } from "/client.js";
import { Announcer } from "./announcer.js";
import { count, rate } from "./format.js";
import { List, Notice } from "./list.js";

const $ = (id) => document.getElementById(id);
const KEPT = 300; // entries in the list
const HISTORY = 50; // comments on arrival
const HISTORY_TAKES = 1000; // milliseconds, at most
const COUNT_VIEWERS = 5000; // milliseconds
const PACE = 5; // seconds over which comments a second are a mean

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// What a browser keeps for the page, where it lets it.
function remember(name, value) {
  try {
    localStorage.setItem(`livecomments.${name}`, value);
  } catch {
    // It is asked again next time.
  }
}

function remembered(name) {
  try {
    return localStorage.getItem(`livecomments.${name}`) ?? "";
  } catch {
    return "";
  }
}

// The name of whoever gives none. All tabs have the same, so that they can share a stream.
function guest() {
  const name = remembered("guest") || `guest-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
  remember("guest", name);
  return name;
}

async function getJSON(address) {
  const response = await fetch(address, { cache: "no-cache" });
  if (!response.ok) throw new Error(`${address} answers ${response.status}`);
  return response.json();
}

async function show(video) {
  document.title = `${video} · livecomments`;
  write($("video"), video);
  $("watch").hidden = $("state").hidden = false;
  unfoldFacts();
  sayState({ state: "connecting" });
  let at;
  try {
    at = await getJSON("/pages.json");
  } catch (error) {
    sayState({ state: "closed", reason: error.message });
    return;
  }
  const viewer = guest();
  const name = () => $("user").value.trim() || viewer;
  const list = new List($("comments"), $("newer"), { limit: KEPT, isMine: ({ userid }) => userid === name() });
  follow(watch({ url: at.reader, video, user: viewer, history: HISTORY }), list);
  takePosts((comment) => post({ url: at.comment, video, user: name(), comment }), list);
  countViewers(video);
}

// ---- What comes.

const facts = { arrived: 0, caughtUp: 0, notShown: 0, gaps: 0, deleted: 0 };
const arrivals = []; // {at, number} of the last seconds, without history and what was caught up
let firstAt;

function follow(stream, list) {
  const announcer = new Announcer($("announcer"));
  // Several of these in a second are said once.
  let skipped = 0, timer = 0;
  const saySkipped = () => {
    if (skipped > 0) list.add([new Notice(`+${count(skipped)} not shown`)]);
    skipped = timer = 0;
  };
  stream.addEventListener("comments", ({ detail: comments }) => {
    list.add(comments);
    announcer.add(comments);
    facts.arrived += comments.length;
    const now = performance.now();
    firstAt ??= now;
    if (now > firstAt + HISTORY_TAKES) arrivals.push({ at: now, number: comments.length });
    $("nothing").hidden = true;
  });
  stream.addEventListener("gap", () => {
    facts.gaps++;
    list.add([new Notice("some comments are missing here", "warn")]);
  });
  stream.addEventListener("skipped", ({ detail }) => {
    facts.notShown += detail.count;
    skipped += detail.count;
    timer ||= setTimeout(saySkipped, 1000);
  });
  stream.addEventListener("deleted", ({ detail }) => {
    facts.deleted++;
    list.remove(detail.id);
  });
  stream.addEventListener("state", ({ detail }) => {
    sayState(detail);
    if (detail.state === "closed" && facts.arrived > 0) list.add([new Notice(`the stream is closed: ${detail.reason ?? "it ended"}`, "warn")]);
    if (!detail.caughtUp) return;
    facts.caughtUp += detail.caughtUp;
    leaveOut(detail.caughtUp);
    list.add([new Notice(`caught up ${count(detail.caughtUp)}`)]);
  });
  sayFacts();
  setInterval(sayFacts, 1000);
  // A page that is left may be kept, frozen, for whoever comes back. Meanwhile it must not hold the stream that other tabs share.
  addEventListener("pagehide", () => stream.close());
  addEventListener("pageshow", ({ persisted }) => { if (persisted) location.reload(); });
}

// Takes comments that are caught up, which came last, out of the arrivals: they are of another time.
function leaveOut(number) {
  for (let i = arrivals.length - 1; i >= 0 && number > 0; i--) {
    const those = Math.min(number, arrivals[i].number);
    arrivals[i].number -= those;
    number -= those;
  }
}

function sayFacts() {
  const now = performance.now();
  while (arrivals.length > 0 && arrivals[0].at < now - 1000 * PACE) arrivals.shift();
  write($("pace"), rate(arrivals.reduce((sum, { number }) => sum + number, 0) / PACE));
  write($("arrived"), count(facts.arrived));
  write($("caught-up"), count(facts.caughtUp));
  write($("not-shown"), count(facts.notShown));
  write($("gaps"), count(facts.gaps));
  write($("deleted"), count(facts.deleted));
}

const states = {
  connecting: () => "Connecting",
  open: () => "Live",
  waiting: ({ retryInMs }) => (retryInMs >= 1500 ? `Reconnecting in ${count(retryInMs / 1000)} s` : "Reconnecting"),
  closed: () => "Closed",
};

function sayState(detail) {
  const { state, reader, reason } = detail;
  $("state").dataset.state = state;
  $("state").title = reason ?? "";
  write($("state"), states[state](detail));
  if (reader) write($("reader"), reader);
  const nothing = { open: "No comment yet. Say something.", closed: `The stream is closed: ${reason ?? "it ended"}.` }[state] ?? "Connecting";
  if (!$("nothing").hidden) write($("nothing"), nothing);
}

// Beside the comments the facts are always open; above them, on a phone, whoever wants them opens them.
function unfoldFacts() {
  const wide = matchMedia("(min-width: 56.001rem)");
  const fold = () => { $("about").open = wide.matches; };
  fold();
  wide.addEventListener("change", fold);
  $("about").querySelector("summary").addEventListener("click", (event) => { if (wide.matches) event.preventDefault(); });
}

async function countViewers(video) {
  try {
    if (!document.hidden) {
      const { viewers, exact } = await getJSON(`/viewers?videoid=${encodeURIComponent(video)}`);
      write($("viewers"), exact ? `${count(viewers)} watching` : viewers > 0 ? `about ${count(viewers)} watching` : "");
    }
  } catch {
    write($("viewers"), "");
  }
  setTimeout(countViewers, COUNT_VIEWERS, video);
}

// ---- What goes.

function takePosts(send, list) {
  const form = $("post"), user = $("user"), text = $("text"), button = form.querySelector("button");
  user.value = remembered("user");
  user.addEventListener("change", () => remember("user", user.value.trim()));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    const comment = text.value;
    button.disabled = true;
    write($("failure"), "");
    try {
      await send(comment);
      if (text.value === comment) text.value = "";
      list.toEnd();
    } catch (error) {
      write($("failure"), `Not sent: ${error.message}`);
    }
    button.disabled = false;
  });
}

// ---- Which video.

const video = new URLSearchParams(location.search).get("videoid");
if (video) {
  show(video);
} else {
  $("ask").hidden = false;
  $("ask-form").addEventListener("submit", (event) => {
    event.preventDefault();
    location.assign(`/watch?videoid=${encodeURIComponent($("ask-video").value)}`);
  });
}
