// The figures of the whole server, each with its last five minutes.

import { byId, element, setText } from "../view/dom.js";
import { Chart } from "./chart.js";
import { count, counted, lasting, NONE, percent, rate, took } from "./figures.js";
import { fill, total } from "./past.js";

// What a tile is called, what its chart draws, how values are said, the figure, and what stands beside it.
const TILES = [
  {
    title: "Changes in",
    unit: "/s",
    lines: ["in"],
    say: rate,
    figure: (_, past) => rate(past.rate("events")),
    note: (now) => `${count(now.events)} since the start`,
  },
  {
    title: "Deliveries out",
    unit: "/s",
    lines: ["out"],
    say: rate,
    figure: (_, past) => rate(past.rate("deliveries")),
    note: (now) => `${count(now.deliveries)} since the start`,
  },
  {
    title: "Connections",
    unit: "",
    lines: ["connections"],
    say: count,
    figure: (now) => count(total(now.connections)),
    note: ({ users, connections: { native, socketio, polling } }) =>
      `${count(native)} native, ${count(socketio)} Socket.IO, ${count(polling)} polling · ${counted(users, "user")}`,
  },
  {
    title: "Redis calls",
    unit: "p50",
    lines: ["p50", "p99"],
    say: took,
    figure: (_, past) => took(past.latency("redis").p50),
    note: (_, past) => {
      const { p50, p99 } = past.latency("archive");
      const archive = p50 === null ? "idle" : `${took(p50)}, p99 ${took(p99)}`;
      return `p99 ${took(past.latency("redis").p99)} · archive ${archive}`;
    },
  },
  {
    title: "Not archived yet",
    unit: "changes",
    lines: ["unsynced"],
    say: count,
    figure: (now) => count(now.unsynced),
    note: (now) => `in ${counted(now.dirty, "dirty room")}`,
  },
  {
    title: "Windows filled",
    unit: "",
    lines: ["fill"],
    say: percent,
    figure: (now) => percent(fill(now)),
    note: (now) => `${counted(now.messages, "message")} in ${counted(now.rooms, "room")}`,
  },
];

export class Tiles {
  #tiles = TILES.map((tile) => {
    const chart = new Chart(tile.title, tile.lines, tile.say);
    const figure = element("span", { class: "figure", text: NONE });
    const note = element("p", { class: "note" });
    const title = element("h3", { text: tile.title });
    const said = element("p", { class: "said" }, figure, tile.unit ? ` ${tile.unit}` : null);
    return { tile, chart, figure, note, node: element("article", { class: "tile" }, title, said, chart.node, note) };
  });

  constructor() {
    byId("tiles").replaceChildren(...this.#tiles.map(({ node }) => node));
  }

  /** @param {object} now the last snapshot. @param {Past} past @param {number} at milliseconds. */
  show(now, past, at) {
    for (const { tile, chart, figure, note } of this.#tiles) {
      setText(figure, tile.figure(now, past));
      setText(note, tile.note(now, past));
      chart.draw(past.points, at);
    }
  }
}

/** What is well and what is not, at one glance. */
export function showHealth(now) {
  const { sync } = now;
  mark("redis", now.redis.healthy, now.redis.healthy ? "well" : "away: rooms are kept in memory");
  mark("archive", now.archive.healthy, now.archive.healthy ? "well" : "away: nothing is archived");
  mark("degraded", now.degraded === 0, now.degraded ? `${count(now.degraded)} in memory only` : "none degraded");
  const late = sync.lagSeconds > sync.longestLagSeconds;
  const failing = sync.failuresInARow ? `, ${counted(sync.failuresInARow, "round")} failed` : "";
  mark("sync", !late && !failing, `complete ${lasting(sync.lagSeconds)} ago${failing}`);
  setText(byId("uptime"), `up ${lasting(now.uptimeSeconds)}`);
}

function mark(name, well, text) {
  const place = byId(`health-${name}`);
  place.dataset.well = String(well);
  setText(place.querySelector(".health-text"), text);
}
