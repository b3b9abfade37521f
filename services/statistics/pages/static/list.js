// The list of what came, with the newest at its end. It holds a bounded number of entries, and so does what waits for a reader
// who has scrolled up. Its first line says how many comments it no longer has.
import { clock, count, many } from "./format.js";

const NEAR = 8; // pixels from the end that still are the end

/** Notice is a line between comments, such as "some comments are missing here". */
export class Notice {
  constructor(text, tone = "quiet") {
    this.text = text;
    this.tone = tone;
  }
}

const isComment = (entry) => !(entry instanceof Notice);

const template = document.createElement("template");
template.innerHTML = `<article class="comment"><span class="face" aria-hidden="true"></span><p class="who"><b></b><time></time></p><p class="said"></p></article>`;

function hue(name) {
  let sum = 0;
  for (let i = 0; i < name.length; i++) sum = (31 * sum + name.charCodeAt(i)) % 360;
  return sum;
}

function commentElement({ id, userid, comment, timestamp }, mine) {
  const element = template.content.firstElementChild.cloneNode(true);
  const [face, who, said] = element.children;
  const [name, time] = who.children;
  element.dataset.id = id;
  element.classList.toggle("mine", mine);
  face.textContent = Array.from(userid)[0] ?? "";
  face.style.setProperty("--hue", hue(userid));
  name.textContent = userid;
  said.textContent = comment;
  const at = new Date(timestamp);
  if (!Number.isNaN(at.getTime())) {
    time.textContent = clock(at);
    time.dateTime = at.toISOString();
  }
  return element;
}

function noticeElement({ text, tone }) {
  const element = document.createElement("p");
  element.className = "notice";
  element.dataset.tone = tone;
  element.textContent = text;
  return element;
}

export class List {
  #log;
  #newer;
  #limit;
  #isMine;
  #waiting = []; // entries that are not in the list yet
  #left = 0; // comments that waited and are given up
  #gone = 0; // comments before the first in the list
  #before = noticeElement(new Notice("")); // says so
  #pinned = true; // to the end
  #top = 0; // where the list was last

  /** log is the list's element, newer the button that says how many wait, limit the most lines. */
  constructor(log, newer, { limit, isMine }) {
    this.#log = log;
    this.#newer = newer;
    this.#limit = limit;
    this.#isMine = isMine;
    log.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    newer.addEventListener("click", () => { this.toEnd(); log.focus({ preventScroll: true }); });
    new ResizeObserver(() => { if (this.#pinned) this.#scrollToEnd(); }).observe(log);
  }

  /** Adds comments and notices, in their order. */
  add(entries) {
    if (entries.length === 0) return;
    this.#waiting = this.#waiting.concat(entries);
    const over = this.#waiting.length - this.#kept;
    if (over > 0) this.#left += this.#waiting.splice(0, over).filter(isComment).length;
    if (this.#pinned) this.#show();
    this.#sayNewer();
  }

  /** Takes a comment away. */
  remove(id) {
    this.#waiting = this.#waiting.filter((entry) => entry.id !== id);
    this.#log.querySelector(`[data-id="${CSS.escape(id)}"]`)?.remove();
    this.#sayNewer();
  }

  /** Shows all that waits, and goes to the newest. */
  toEnd() {
    this.#pinned = true;
    this.#show();
    this.#sayNewer();
  }

  #show() {
    const parts = document.createDocumentFragment();
    for (const entry of this.#waiting) parts.append(isComment(entry) ? commentElement(entry, this.#isMine(entry)) : noticeElement(entry));
    // What is before comments that are given up goes as well: the list has no hole.
    const keep = this.#left > 0 ? this.#waiting.length : this.#kept;
    this.#gone += this.#left;
    this.#waiting = [];
    this.#left = 0;
    this.#log.append(parts);
    if (this.#pinned) {
      this.#trim(keep);
      this.#scrollToEnd();
      return;
    }
    // What a reader looks at stays where it is.
    const { scrollHeight, scrollTop } = this.#log;
    this.#trim(keep);
    this.#log.scrollTop = this.#top = scrollTop - (scrollHeight - this.#log.scrollHeight);
  }

  // Entries beside the line that says how many are gone.
  get #kept() {
    return this.#limit - 1;
  }

  #trim(keep) {
    const said = this.#before.isConnected ? 1 : 0;
    for (let over = this.#log.childElementCount - said - keep; over > 0; over--) {
      const oldest = this.#log.children[said];
      if (oldest.matches(".comment")) this.#gone++;
      oldest.remove();
    }
    if (this.#gone === 0) return;
    const text = `${many(this.#gone, "comment")} before these ${this.#gone === 1 ? "is" : "are"} not kept`;
    if (this.#before.textContent !== text) this.#before.textContent = text;
    if (!said) this.#log.prepend(this.#before);
  }

  #scrollToEnd() {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#top = this.#log.scrollTop;
  }

  // A reader who goes up by as little as a pixel wants to read, and one who comes to the end wants to follow.
  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#log;
    if (scrollHeight - scrollTop - clientHeight <= NEAR) {
      if (this.#waiting.length > 0) this.#show();
      else this.#pinned = true;
      this.#sayNewer();
    } else if (scrollTop < this.#top) {
      this.#pinned = false;
    }
    this.#top = this.#log.scrollTop;
  }

  #sayNewer() {
    const number = this.#left + this.#waiting.filter(isComment).length;
    this.#newer.hidden = number === 0;
    const text = `${count(number)} new`;
    if (this.#newer.textContent !== text) this.#newer.textContent = text;
  }
}

