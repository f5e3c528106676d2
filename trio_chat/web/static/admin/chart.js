// A small chart of the last five minutes: one line or two over time, drawn as SVG.
//
// Its words say for everybody what it shows; pointing at it tells the values of a moment.

import { clock } from "../core/when.js";
import { drawing, element, setText } from "../view/dom.js";
import { SPAN } from "./past.js";

const WIDTH = 300;
const HEIGHT = 60;
// Room for the width of a line at the upper and the lower edge.
const MARGIN = 2;

export class Chart {
  #names;
  #say;
  #title;
  #lines;
  #area = drawing("path", { class: "area" });
  #cursor = drawing("path", { class: "cursor" });
  #scale = element("span", { class: "scale", "aria-hidden": "true" });
  #told = element("span", { class: "told", "aria-hidden": "true" });
  #points = [];
  #pointed = null;

  /**
   * @param {string} title what it is about.
   * @param {string[]} names of the values of a point that are drawn, one or two.
   * @param {(value: number) => string} say a value.
   */
  constructor(title, names, say) {
    this.#title = title;
    this.#names = names;
    this.#say = say;
    this.#lines = names.map((_, index) => drawing("path", { class: `line l${index}` }));
    this.svg = drawing(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
      drawing("path", { class: "grid", d: `M0 ${MARGIN}H${WIDTH}M0 ${HEIGHT - MARGIN}H${WIDTH}` }),
      this.#area,
      ...this.#lines,
      this.#cursor,
    );
    /** @type {HTMLElement} */
    this.node = element("div", { class: "chart" }, this.svg, this.#scale, this.#told);
    this.svg.addEventListener("pointermove", (event) => {
      this.#pointed = event.offsetX / this.svg.clientWidth;
      this.#point();
    });
    this.svg.addEventListener("pointerleave", () => {
      this.#pointed = null;
      this.#point();
    });
  }

  /** @param {Point[]} points @param {number} now milliseconds, where the chart ends. */
  draw(points, now) {
    this.#points = points.map((point) => ({
      at: point.at,
      x: WIDTH - ((now - point.at) / SPAN) * WIDTH,
      values: this.#names.map((name) => point[name]),
    }));
    const known = this.#points.flatMap(({ values }) => values).filter((value) => value !== null);
    const high = roundUp(Math.max(0, ...known));
    const y = (value) => HEIGHT - MARGIN - (value / (high || 1)) * (HEIGHT - 2 * MARGIN);
    for (const [index, line] of this.#lines.entries()) line.setAttribute("d", path(this.#runs(index, y)));
    this.#area.setAttribute("d", area(this.#runs(0, y)));
    setText(this.#scale, known.length && high ? this.#say(high) : "");
    this.svg.setAttribute("aria-label", this.#words());
    this.#point();
  }

  /** @returns {{x: number, y: number}[][]} the pieces of a line, which has gaps where nothing is known. */
  #runs(index, y) {
    const runs = [[]];
    for (const { x, values } of this.#points) {
      if (values[index] !== null) runs.at(-1).push({ x, y: y(values[index]) });
      else if (runs.at(-1).length) runs.push([]);
    }
    return runs.filter((run) => run.length > 0);
  }

  #words() {
    const parts = this.#names.map((name, index) => {
      const known = this.#points.map(({ values }) => values[index]).filter((value) => value !== null);
      const what = this.#names.length > 1 ? `${name}: ` : "";
      if (known.length === 0) return `${what}nothing is known yet`;
      const [low, high] = [Math.min(...known), Math.max(...known)].map(this.#say);
      return `${what}now ${this.#say(known.at(-1))}, between ${low} and ${high}`;
    });
    return `${this.#title}, last five minutes. ${parts.join("; ")}.`;
  }

  /** Tell the values of the moment that is pointed at. */
  #point() {
    const x = (this.#pointed ?? 0) * WIDTH;
    const near = (best, one) => (Math.abs(one.x - x) < Math.abs(best.x - x) ? one : best);
    const found = this.#pointed === null || !this.#points.length ? null : this.#points.reduce(near);
    this.#cursor.setAttribute("d", found ? `M${found.x.toFixed(1)} 0V${HEIGHT}` : "");
    const values = found?.values.map((value) => (value === null ? "–" : this.#say(value)));
    setText(this.#told, found ? `${values.join(" / ")} at ${clock(new Date(found.at), true)}` : "");
  }
}

function path(runs) {
  return runs.map((run) => `M${run.map(({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`).join("");
}

function area(runs) {
  const floor = HEIGHT - MARGIN;
  return runs.map((run) => `${path([run])}V${floor}H${run[0].x.toFixed(1)}Z`).join("");
}

/** @returns {number} the next number that begins with 1, 2 or 5 and goes on with noughts. */
function roundUp(value) {
  if (value === 0) return 0;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * unit >= value * 0.999) * unit;
}
