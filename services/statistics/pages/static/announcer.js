// Tells a screen reader what comes, as fast as can be listened to.
import { many } from "./format.js";

const BETWEEN = 5000; // milliseconds
const READ_OUT = 3; // comments; more are counted

export class Announcer {
  #element;
  #comments = [];
  #number = 0;
  #timer = 0;

  /** element is a live region that nobody sees. */
  constructor(element) {
    this.#element = element;
  }

  add(comments) {
    this.#number += comments.length;
    this.#comments = this.#comments.concat(comments).slice(-READ_OUT);
    this.#timer ||= setTimeout(() => this.#say(), this.#element.textContent ? BETWEEN : 0);
  }

  #say() {
    this.#element.textContent = this.#number <= READ_OUT ? this.#comments.map(({ userid, comment }) => `${userid}: ${comment}`).join(". ") : many(this.#number, "new comment");
    this.#comments = [];
    this.#number = this.#timer = 0;
  }
}
