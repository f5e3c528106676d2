// The rooms, the most active first.
//
// While somebody points at the rooms or has the focus in them, they keep their order: nothing moves away from under a
// finger.

import { arrange, byId, drawing, element, icon, setText } from "../view/dom.js";
import { count, lasting, percent, rate } from "./figures.js";

// The columns behind the name: what is sorted by, and how it is shown.
const COLUMNS = {
  room: { of: (one) => one.room },
  rate: { of: (one) => one.rate ?? -1, say: (one) => rate(one.rate) },
  members: { of: (one) => one.members, say: (one) => count(one.members) },
  fill: { of: (one) => one.fill ?? -1, say: (one) => (one.fill === null ? count(one.messages) : percent(one.fill)) },
  unsynced: { of: (one) => one.top - one.synced, say: (one) => count(one.top - one.synced) },
  waiting: { of: (one) => one.waiting, say: (one) => count(one.waiting) },
  idle: { of: (one) => one.idleSeconds, say: (one) => lasting(one.idleSeconds) },
};
// Names, and how long nothing has happened, from the smallest; all else from the largest.
const RISING = new Set(["room", "idle"]);

export class RoomTable {
  #body = byId("rooms-body");
  #onOpen;
  #rows = new Map();
  #column = "rate";
  #rising = false;
  #rooms = [];
  #order = [];

  /** @param {(room: string) => void} onOpen */
  constructor(onOpen) {
    this.#onOpen = onOpen;
    for (const head of document.querySelectorAll("#rooms-table th[data-column]")) {
      head.querySelector("button").addEventListener("click", () => this.#sortBy(head.dataset.column));
    }
    this.#showSorting();
  }

  /** @param {object[]} rooms of a snapshot, each with its `rate` and its `fill`. */
  show(rooms) {
    this.#rooms = rooms;
    this.#sort(this.#body.matches(":hover, :focus-within"));
    const rows = this.#order.map((one) => this.#row(one));
    this.#rows = new Map(rows.map((row) => [row.room, row]));
    arrange(this.#body, rows.map(({ node }) => node));
  }

  #sortBy(column) {
    this.#rising = this.#column === column ? !this.#rising : RISING.has(column);
    this.#column = column;
    this.#showSorting();
    this.#order = [];
    this.show(this.#rooms);
  }

  #showSorting() {
    for (const head of document.querySelectorAll("#rooms-table th[data-column]")) {
      if (head.dataset.column === this.#column) head.setAttribute("aria-sort", this.#rising ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
  }

  #sort(keep) {
    const before = new Map(keep ? this.#order.map((one, index) => [one.room, index]) : []);
    const { of } = COLUMNS[this.#column];
    const sign = this.#rising ? 1 : -1;
    // Those that are alike stand by name, so that they do not change places for nothing.
    const compare = (a, b) => sign * compared(of(a), of(b)) || compared(a.room, b.room);
    const place = (one) => before.get(one.room) ?? Infinity;
    this.#order = [...this.#rooms].sort((a, b) => compared(place(a), place(b)) || compare(a, b));
  }

  #row(room) {
    const known = this.#rows.get(room.room) ?? this.#made(room.room);
    for (const [column, cell] of known.cells) setText(cell, COLUMNS[column].say(room));
    known.bar.setAttribute("width", Math.round((room.fill ?? 0) * 100));
    known.node.classList.toggle("degraded", room.degraded);
    known.mark.hidden = !room.degraded;
    return known;
  }

  #made(room) {
    const bar = drawing("rect", { height: 4, width: 0 });
    const frame = drawing("svg", { class: "bar", viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" });
    frame.append(bar);
    const mark = element("span", { class: "warn", title: "Redis does not have its newest messages" }, icon("memory"), "degraded");
    const open = element("button", { type: "button", class: "room-link", onclick: () => this.#onOpen(room), text: room });
    const node = element("tr", {}, element("th", { scope: "row" }, element("div", { class: "named" }, open, mark)));
    const cells = new Map();
    for (const column of Object.keys(COLUMNS).slice(1)) {
      const text = element("span");
      node.append(element("td", { class: column }, column === "fill" ? frame : null, text));
      cells.set(column, text);
    }
    return { room, node, cells, bar, mark };
  }
}

function compared(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}
