// The list of rooms one is in, and the field that joins another.

import { roomProblem } from "../core/names.js";
import { arrange, byId, element, icon } from "./dom.js";

const MANY = 99;

export class RoomList {
  #list = byId("room-list");
  #heed;
  #items = new Map();

  /** @param {{onOpen: (id: string) => void, onLeave: (id: string) => void}} heed */
  constructor(heed) {
    this.#heed = heed;
    const form = byId("join");
    const field = byId("join-room");
    const problem = byId("join-problem");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const id = field.value.trim();
      const wrong = id ? roomProblem(id) : "Type the name of a room, such as team-42/general.";
      problem.textContent = wrong ?? "";
      field.toggleAttribute("aria-invalid", wrong !== null);
      if (wrong !== null) {
        field.focus();
        return;
      }
      field.value = "";
      heed.onOpen(id);
    });
    field.addEventListener("input", () => {
      problem.textContent = "";
      field.removeAttribute("aria-invalid");
    });
  }

  /** @param {Iterable<Room>} rooms @param {Room | null} open */
  show(rooms, open) {
    const items = new Map();
    for (const room of rooms) items.set(room.id, this.#item(room, room === open));
    this.#items = items;
    arrange(this.#list, [...items.values()].map(({ node }) => node));
    byId("rooms-empty").hidden = items.size > 0;
  }

  #item(room, open) {
    const unread = open ? 0 : room.unread();
    const version = JSON.stringify([open, unread, room.problem]);
    const known = this.#items.get(room.id);
    if (known?.version === version) return known;
    // The buttons stay where they are, so that they keep the focus.
    const node = known?.node ?? this.#made(room.id);
    const [enter, leave] = node.children;
    enter.toggleAttribute("data-unread", unread > 0);
    if (open) enter.setAttribute("aria-current", "page");
    else enter.removeAttribute("aria-current");
    enter.replaceChildren(element("span", { class: "room-name", text: room.id }), ...count(unread, room.problem));
    leave.hidden = !open && !room.problem;
    return { node, version };
  }

  #made(id) {
    const label = `Leave ${id}`;
    return element(
      "li",
      {},
      element("button", { type: "button", class: "room", onclick: () => this.#heed.onOpen(id) }),
      element(
        "button",
        { type: "button", class: "tool leave", onclick: () => this.#heed.onLeave(id), "aria-label": label, title: label },
        icon("close"),
      ),
    );
  }
}

function count(unread, problem) {
  if (problem !== null) return [element("span", { class: "count trouble", title: problem, text: "!" })];
  if (unread === 0) return [];
  const text = unread > MANY ? `${MANY}+` : String(unread);
  return [element("span", { class: "count", text }), element("span", { class: "unseen", text: " unread" })];
}
