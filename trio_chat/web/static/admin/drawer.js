// One room, looked at closely: its figures and who is in it. What is said there is nobody's business here.

import { ago } from "../core/when.js";
import { arrange, byId, element, setText } from "../view/dom.js";
import { count, counted, lasting, percent, rate } from "./figures.js";

export class Drawer {
  #dialog = byId("room");
  #heed;
  #people = new Map();
  /** @type {string | null} the room that is looked at. */
  open = null;

  /** @param {{onClose: (room: string) => void, onDisconnect: (user: string) => void, onGone: () => void}} heed */
  constructor(heed) {
    this.#heed = heed;
    byId("room-back").addEventListener("click", () => this.#dialog.close());
    byId("room-close").addEventListener("click", () => heed.onClose(this.open));
    this.#dialog.addEventListener("close", () => {
      this.open = null;
      heed.onGone();
    });
    // A click beside it is one on the dialog itself, which its content fills.
    this.#dialog.addEventListener("click", (event) => event.target === this.#dialog && this.#dialog.close());
  }

  /** Look at a room. @param {string} room */
  look(room) {
    this.open = room;
    setText(byId("room-name"), room);
    byId("room-figures").replaceChildren();
    this.#note("");
    this.#people.clear();
    byId("room-people").replaceChildren();
    setText(byId("room-count"), "");
    if (!this.#dialog.open) this.#dialog.showModal();
  }

  shut() {
    this.#dialog.close();
  }

  /** Know that the room is not in memory, or cannot be looked at. @param {string} why */
  miss(why) {
    byId("room-figures").replaceChildren();
    byId("room-close").disabled = true;
    this.#note(why);
  }

  /** @param {object} room with its `rate` and its `fill`. */
  show(room) {
    byId("room-close").disabled = false;
    this.#note(room.degraded ? "Degraded: Redis does not have its newest messages; they are in the memory of the server." : "");
    const filled = room.fill === null ? "" : ` · ${percent(room.fill)}`;
    const figures = [
      ["Changes a second", rate(room.rate)],
      ["Connections", count(room.members)],
      ["Window", `${counted(room.messages, "message")}${filled}`],
      ["Last change", `no. ${count(room.top)}`],
      ["Archived up to", `no. ${count(room.synced)}`],
      ["Requests waiting", count(room.waiting)],
      ["Idle for", lasting(room.idleSeconds)],
      ["Kept in", room.degraded ? "memory only" : "Redis"],
      ["Session", room.epoch],
    ];
    const place = byId("room-figures");
    if (place.childElementCount === 0) {
      place.append(...figures.map(([name]) => element("div", {}, element("dt", { text: name }), element("dd"))));
    }
    for (const [index, [, text]] of figures.entries()) setText(place.children[index].lastChild, text);
  }

  /** @param {{userId: string, isActive: boolean, lastActiveAt: string}[] | null} members null if they may not be seen. */
  showPeople(members) {
    const place = byId("room-people");
    const text = members === null ? "This token does not open the room, so who is in it is not shown." : "";
    setText(byId("room-count"), members?.length ? ` (${members.length})` : "");
    setText(byId("room-hidden"), text || (members.length ? "" : "Nobody is in it."));
    const now = new Date();
    const people = (members ?? []).map((one) => this.#person(one, now)).sort((a, b) => (a.user < b.user ? -1 : 1));
    this.#people = new Map(people.map((one) => [one.user, one]));
    arrange(place, people.map(({ node }) => node));
  }

  #person({ userId, lastActiveAt }, now) {
    const known = this.#people.get(userId) ?? this.#made(userId);
    const since = ago(new Date(lastActiveAt), now);
    setText(known.note, since === "now" ? "active now" : `active: ${since}`);
    return known;
  }

  #made(user) {
    const note = element("span", { class: "hint" });
    const name = element("bdi", { class: "name", text: user });
    const button = element(
      "button",
      { type: "button", class: "button small", onclick: () => this.#heed.onDisconnect(user), "aria-label": `Disconnect ${user}` },
      "Disconnect",
    );
    return { user, note, node: element("li", {}, name, note, button) };
  }

  #note(text) {
    const note = byId("room-note");
    note.hidden = text === "";
    setText(note, text);
  }
}
