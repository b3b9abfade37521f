// A line over the last five minutes, by uPlot (a global, from its own script).
/* global uPlot */
import { clock } from "./format.js";

export const SPAN = 300; // seconds

const dark = matchMedia("(prefers-color-scheme: dark)");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export class Chart {
  #plot;
  #root;
  #reading;
  #format;
  #data = [[], []];
  #empty;

  /** id is that of the element to fill, name that of its colour. format spells a value, short one beside the axis. Charts with one key share their cursor. */
  constructor(id, { name, format, short = format, key, empty }) {
    this.#root = document.getElementById(id);
    this.#reading = document.getElementById(`${id}-reading`);
    this.#format = format;
    this.#empty = Object.assign(document.createElement("p"), { className: "nothing small", textContent: empty, hidden: true });
    const axis = { stroke: () => colour("quiet"), font: `12px ${colour("sans")}`, ticks: { show: false }, grid: { stroke: () => colour("line"), width: 1 } };
    this.#plot = new uPlot({
      ...this.#size(),
      padding: [8, 8, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, sync: { key }, points: { size: 7, fill: () => colour(name), stroke: () => colour("paper"), width: 2 } },
      scales: { x: { range: (_, __, newest) => [newest - SPAN, newest] }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.15 : 1] } },
      axes: [
        { ...axis, grid: { show: false }, size: 26, gap: 8, space: 90, values: (_, ticks) => ticks.map((at) => clock(1000 * at).slice(0, 5)), incrs: [60, 120, 300] },
        { ...axis, size: 50, gap: 8, space: 34, values: (_, ticks) => ticks.map(short) },
      ],
      series: [{}, { stroke: () => colour(name), fill: () => colour(name) + "1f", width: 2, points: { show: false }, spanGaps: false }],
      hooks: { setCursor: [() => this.#read()] },
    }, this.#data, this.#root);
    this.#root.append(this.#empty);
    new ResizeObserver(() => this.#plot.setSize(this.#size())).observe(this.#root);
    dark.addEventListener("change", () => this.#plot.redraw());
  }

  /** Shows values, null where one is not known, at times in seconds. */
  show(times, values) {
    this.#data = [times, values];
    this.#plot.setData(this.#data);
    this.#empty.hidden = times.length === 0 || values.some((value) => value !== null);
    this.#read();
  }

  #size() {
    return { width: Math.max(this.#root.clientWidth, 100), height: this.#root.clientHeight };
  }

  // Says the value under the cursor, and the newest where there is no cursor.
  #read() {
    const [times, values] = this.#data;
    const under = this.#plot?.cursor.idx ?? null;
    const at = under !== null && this.#plot.cursor.left >= 0 ? under : times.length - 1;
    const when = document.createElement("span");
    if (at !== times.length - 1) when.textContent = clock(1000 * times[at]);
    this.#reading.replaceChildren(when, values[at] === null || values[at] === undefined ? "" : this.#format(values[at]));
  }
}
