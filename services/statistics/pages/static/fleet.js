// The Fleet page: one event stream of figures, a second apart, put into cells that stay.
import { Chart, SPAN } from "./chart.js";
import { brief, bytes, clock, count, many, milliseconds, percent, rate, ratio } from "./format.js";

const $ = (id) => document.getElementById(id);
const MUCH = 0.8; // of all channels

// What is written is only what has changed: layout costs more than comparing.
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A figure says its value to machines as well.
function figure(element, value, format) {
  const exact = value === null || value === undefined ? "" : String(value);
  if (element.value === exact && element.textContent !== "") return;
  element.value = exact;
  write(element, format(value));
}

function make(name, className, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

// ---- The headline.

function sentence({ readerCount, viewers, channels }) {
  if (readerCount === 0) return "No reader is running";
  const readers = many(readerCount, "reader");
  if (viewers === 0) return `${readers}, and nobody watches`;
  const videos = channels === null ? "" : ` of ${many(channels, "video")}`;
  return `${readers} ${readerCount === 1 ? "serves" : "serve"} ${many(viewers, "viewer")}${videos}`;
}

// What the simulated viewers found: tone and text.
function verdict({ verification, clients }) {
  if (!verification || !clients || clients.viewers === 0) return ["none", "Not checked: no simulated viewers report"];
  const wrong = [
    [verification.missing, "missing"], [verification.duplicates, verification.duplicates === 1 ? "duplicate" : "duplicates"],
    [verification.misordered, "out of order"], [verification.corrupt, "corrupt"],
  ].filter(([number]) => number > 0);
  if (wrong.length === 0) return ["good", "0 missing, 0 duplicates"];
  return ["bad", wrong.map(([number, what]) => `${count(number)} ${what}`).join(", ")];
}

function showHeadline(now) {
  write($("lead"), sentence(now));
  const [tone, text] = verdict(now);
  $("verdict").hidden = false;
  $("verdict").dataset.tone = tone;
  write($("verdict"), text);

  figure($("viewers"), now.viewers, count);
  write($("viewers-aside"), now.channels === null ? "" : `${many(now.channels, "video")} watched`);
  figure($("comments"), now.comments, rate);
  write($("comments-aside"), `${count(now.storedComments)} stored`);
  figure($("deliveries"), now.deliveries, rate);
  write($("deliveries-aside"), `${rate(now.messages)} messages from Redis`);
  figure($("copies"), now.copies, ratio);
  write($("copies-aside"), now.random ? `${ratio(now.random.copies)} at random` : "");
  figure($("p99"), now.latency?.p99, milliseconds);
  write($("p99-aside"), now.latency ? `median ${milliseconds(now.latency.p50)}, most ${milliseconds(now.latency.max)}` : "needs simulated viewers");
}

// ---- The charts.

const charts = [
  [new Chart("chart-comments", { name: "comments", format: rate, short: brief, key: "fleet", empty: "No comment was posted." }), "comments"],
  [new Chart("chart-deliveries", { name: "deliveries", format: rate, short: brief, key: "fleet", empty: "Nothing was delivered." }), "deliveries"],
  [new Chart("chart-latency", { name: "latency", format: milliseconds, key: "fleet", empty: "Nobody measures it: no simulated viewers report." }), "p99"],
];
let samples = [];

function addSample(now) {
  const sample = { at: now.at, comments: now.comments, deliveries: now.deliveries, p99: now.latency?.p99 ?? null };
  if (samples.length > 0 && samples.at(-1).at >= sample.at) samples.pop();
  samples.push(sample);
  samples = samples.filter(({ at }) => at >= sample.at - 1000 * (SPAN + 5));
}

function showCharts() {
  const times = samples.map(({ at }) => at / 1000);
  for (const [chart, name] of charts) chart.show(times, samples.map((sample) => sample[name] ?? null));
}

// ---- What placement changes.

function pair(label) {
  const bars = ["now", "random"].map((of) => {
    const bar = make("i"), data = make("data");
    return { bar, data, cell: make("td", of, make("span", "track", bar), data) };
  });
  const head = make("th", "", label);
  head.scope = "row";
  $("pairs").append(make("tr", "", head, ...bars.map(({ cell }) => cell)));
  return (values, format) => {
    const most = Math.max(...values.map((value) => value ?? 0));
    bars.forEach(({ bar, data }, i) => {
      bar.style.transform = `scaleX(${most > 0 ? (values[i] ?? 0) / most : 0})`;
      figure(data, values[i], format);
    });
  };
}

const pairs = { copies: pair("Copies of a comment"), share: pair("Share of all channels that a reader takes in, on average"), messages: pair("Messages from Redis a second") };

function placement({ routing, random, messages, readerCount, viewers }) {
  if (!random || readerCount === 0 || viewers === 0) return "Nothing is known yet: it takes readers and viewers.";
  if (readerCount === 1) return "With one reader there is nothing to place. Start more, and see.";
  if (routing === "random") return "Viewers stay wherever they connect: ROUTING=random. ROUTING=bounded would keep those of a video together.";
  const fewer = random.messages > 0 ? 1 - messages / random.messages : 0;
  const placed = routing ? `Viewers are placed (ROUTING=${routing})` : "Viewers are placed in several ways";
  return fewer > 0.005 ? `${placed}: Redis sends ${percent(fewer)} less than with viewers at random.` : `${placed}.`;
}

function showPlacement(now) {
  write($("placement-says"), placement(now));
  const shares = now.readers.map(({ share }) => share).filter((share) => share !== null);
  const mean = shares.length > 0 ? shares.reduce((sum, share) => sum + share, 0) / shares.length : null;
  pairs.copies([now.copies, now.random?.copies], ratio);
  pairs.share([mean, now.random?.share], percent);
  pairs.messages([now.messages, now.random?.messages], rate);
}

// ---- Lists of a name and a figure.

function showList(list, rows) {
  list.hidden = false;
  rows.forEach(([name, text, bad], i) => {
    const row = list.children[i] ?? list.appendChild(make("div", "", make("dt"), make("dd")));
    write(row.firstChild, name);
    write(row.lastChild, text);
    row.lastChild.classList.toggle("bad", Boolean(bad));
  });
  while (list.children.length > rows.length) list.lastChild.remove();
}

function showChecks({ verification: v, clients }) {
  if (!v || !clients || clients.viewers === 0) {
    $("checks").hidden = true;
    write($("checks-says"), "No simulated viewers report, so nobody counts. lab up --viewers 100 brings some.");
    return;
  }
  write($("checks-says"), `${count(clients.connected)} of ${many(clients.viewers, "simulated viewer")} connected.`);
  showList($("checks"), [
    ["Missing", count(v.missing), v.missing], ["Duplicates", count(v.duplicates), v.duplicates], ["Out of order", count(v.misordered), v.misordered], ["Corrupt", count(v.corrupt), v.corrupt],
    ["On their way", count(v.pending)], ["Gaps announced", count(v.gaps)], ["Reconnects", count(v.reconnects)], ["Posts refused", count(v.failedPosts)],
  ]);
}

function showRedis({ redis }) {
  if (!redis || redis.up === null) {
    $("redis").hidden = true;
    write($("redis-says"), "Nothing is known yet.");
    return;
  }
  write($("redis-says"), redis.up ? `Answers${redis.version ? `, version ${redis.version}` : ""}.` : "Does not answer. Streams stay open, and comments are refused.");
  const rows = [["Memory", redis.memory, bytes], ["Commands a second", redis.commands, rate], ["CPU", redis.cpu, percent], ["Channels", redis.channels, count]].filter(([, value]) => value !== null && value !== undefined);
  showList($("redis"), rows.map(([name, value, format]) => [name, format(value)]));
  $("redis").hidden = rows.length === 0;
  if (redis.up && rows.length < 4) write($("redis-says"), "Answers. An embedded one says little about itself.");
}

// ---- Tables whose rows stay. Only rows in sight are written: those out of it wait until they come into it.

class Rows {
  #body;
  #columns;
  #rows = new Map();
  #watcher;

  /** columns make a cell each, and return what writes an item into it. */
  constructor(body, scroll, columns) {
    this.#body = body;
    this.#columns = columns;
    this.#watcher = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const row = target.row;
        row.inSight = isIntersecting;
        if (isIntersecting) this.#fill(row);
      }
    }, { root: scroll, rootMargin: "200px" });
  }

  show(items, key) {
    const { activeElement: focused } = document;
    const ids = new Set(items.map(key));
    for (const [id, { element }] of this.#rows) {
      if (ids.has(id)) continue;
      this.#watcher.unobserve(element);
      element.remove();
      this.#rows.delete(id);
    }
    let place = this.#body.firstChild;
    for (const item of items) {
      const id = key(item), row = this.#rows.get(id) ?? this.#add(id, item);
      row.item = item;
      if (place === row.element) place = place.nextSibling;
      else this.#body.insertBefore(row.element, place);
      if (row.inSight) this.#fill(row);
    }
    // A row that moves loses the focus.
    if (this.#body.contains(focused) && focused !== document.activeElement) focused.focus({ preventScroll: true });
  }

  #add(id, item) {
    const element = make("tr"), row = { element, item, inSight: true };
    element.row = row;
    row.writers = this.#columns.map((column) => column(element));
    this.#rows.set(id, row);
    this.#watcher.observe(element);
    return row;
  }

  #fill({ writers, item }) {
    for (const writeItem of writers) writeItem(item);
  }
}

// A column of figures under a head.
const column = (head, of, format) => (row) => {
  const data = make("data"), cell = make("td", "", data);
  cell.dataset.head = head;
  row.append(cell);
  return (item) => figure(data, of(item), format);
};

function nameColumn(row) {
  const name = make("span"), badge = make("span", "badge"), head = make("th", "", name, badge);
  head.scope = "row";
  row.append(head);
  return ({ id, misplaced }) => {
    write(name, id);
    head.title = id;
    badge.hidden = !misplaced;
    write(badge, misplaced ? `${count(misplaced)} to move` : "");
  };
}

function shareColumn(row) {
  const bar = make("i"), data = make("data"), meter = make("div", "meter", make("span", "track", bar), data), cell = make("td", "share", meter);
  cell.dataset.head = "Share of all channels";
  row.append(cell);
  return ({ share }) => {
    bar.style.transform = `scaleX(${Math.min(share ?? 0, 1)})`;
    meter.toggleAttribute("data-much", share >= MUCH);
    figure(data, share, percent);
  };
}

function videoColumn(row) {
  const link = make("a"), head = make("th", "", link);
  head.scope = "row";
  row.append(head);
  return ({ video }) => {
    write(link, video);
    head.title = video;
    link.href = `/watch?videoid=${encodeURIComponent(video)}`;
  };
}

// A figure of a process, which may be that of several readers.
const ofProcess = (head, of, format) => (row) => {
  const writeItem = column(head, of, format)(row), cell = row.lastChild;
  return (item) => {
    cell.classList.toggle("shared", Boolean(item.shared));
    writeItem(item);
  };
};

const readers = new Rows($("readers"), $("readers-scroll"), [
  nameColumn, column("Viewers", ({ viewers }) => viewers, count), column("Channels", ({ channels }) => channels, count), shareColumn,
  column("Messages in / s", ({ messagesIn }) => messagesIn, rate), column("Deliveries / s", ({ deliveries }) => deliveries, rate),
  ofProcess("CPU", ({ cpu }) => cpu, percent), ofProcess("Memory", ({ memory }) => memory, bytes),
]);
const hot = new Rows($("hot"), $("hot-scroll"), [
  videoColumn, column("Viewers", ({ viewers }) => viewers, count), column("On readers", ({ readers }) => readers, count),
  column("Comments / s", ({ comments }) => comments, rate), column("Deliveries / s", ({ deliveries }) => deliveries, rate), column("Skipped / s", ({ skipped }) => skipped, rate),
]);

function showReaders({ readers: list, readerCount, routing }) {
  readers.show(list, ({ id }) => id);
  $("no-readers").hidden = readerCount > 0;
  $("readers-scroll").hidden = readerCount === 0;
  const shown = list.length < readerCount ? `${count(list.length)} of ${count(readerCount)} are shown` : "";
  const much = list.filter(({ share }) => share >= MUCH).length;
  write($("readers-says"), [shown, routing && `routing ${routing}`, much > 0 && `${count(much)} over the 80 % line`].filter(Boolean).join(" · "));
  const shared = list.some((reader) => reader.shared);
  $("readers-note").hidden = !shared;
  write($("readers-note"), shared ? "These readers run in one process. CPU and memory are of all of it." : "");
}

function showHot({ hot: list }) {
  hot.show(list, ({ video }) => video);
  $("no-hot").hidden = list.length > 0;
  $("hot-scroll").hidden = list.length === 0;
  const skipped = list.reduce((sum, video) => sum + (video.skipped ?? 0), 0);
  write($("hot-says"), list.length === 0 ? "" : skipped > 0 ? `${rate(skipped)} skipped a second` : "nothing is skipped");
}

// ---- The stream.

let newest = null, waiting = false;

// What comes while the page is hidden, or faster than it is drawn, is not drawn; the charts keep it.
function take(now) {
  // Of very many videos the API does not know at first how many are watched, and says 0.
  if (now.channels === 0 && now.viewers > 0) {
    now.channels = null;
    for (const reader of now.readers) reader.share = null;
  }
  addSample(now);
  newest = now;
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    showHeadline(newest);
    showCharts();
    showPlacement(newest);
    showChecks(newest);
    showRedis(newest);
    showReaders(newest);
    showHot(newest);
  });
}

const SILENT = 5000; // milliseconds
let silence, heardAt = Date.now();

function say(state, text) {
  $("state").dataset.state = state;
  write($("state"), text);
}

function listen() {
  const stream = new EventSource("/fleet");
  const again = () => {
    clearTimeout(silence);
    stream.close();
    setTimeout(listen, 2000 + 4000 * Math.random());
  };
  // A connection may die without a word: that of a laptop that slept, or behind a router that forgot it.
  const listenFor = () => {
    clearTimeout(silence);
    silence = setTimeout(() => { say("waiting", `No figures since ${clock(heardAt)}`); again(); }, SILENT);
  };
  listenFor();
  stream.addEventListener("past", ({ data }) => { samples = JSON.parse(data).samples; });
  stream.onmessage = ({ data }) => {
    heardAt = Date.now();
    say("open", "Live");
    listenFor();
    take(JSON.parse(data));
  };
  stream.onerror = () => {
    say("waiting", "Reconnecting");
    // It comes back by itself after a cut, and not after a refusal.
    if (stream.readyState === EventSource.CLOSED) again();
    else listenFor();
  };
}

listen();
// A page that was kept, frozen, and comes back has figures of long ago.
addEventListener("pageshow", ({ persisted }) => { if (persisted) location.reload(); });

// ---- Explanations open beside what they explain.

for (const explained of document.querySelectorAll(".explained")) {
  explained.addEventListener("toggle", ({ newState }) => {
    if (newState !== "open") return;
    const { left, bottom, top } = document.querySelector(`[popovertarget="${explained.id}"]`).getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = explained;
    explained.style.left = `${Math.max(16, Math.min(left - 12, innerWidth - width - 16))}px`;
    explained.style.top = `${bottom + 8 + height < innerHeight ? bottom + 8 : Math.max(8, top - height - 8)}px`;
  });
}
