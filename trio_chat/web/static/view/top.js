// The line above the oldest message: what there is further up, or why one sees nothing.

import { element } from "./dom.js";

const TEXTS = {
  paging: "Reading older messages…",
  entering: "Entering the room…",
  away: "Not connected. You can go on writing: it is sent when the connection is back.",
  beginning: "This is where the room begins.",
  empty: "Nobody has said anything here yet. Say hello!",
  problem: "",
};

export class Top {
  #onOlder;
  /** @type {HTMLElement | null} */
  node = null;

  /** @param {() => void} onOlder */
  constructor(onOlder) {
    this.#onOlder = onOlder;
  }

  /**
   * @param {Room} room
   * @param {{shown: number, hidden: number, online: boolean}} how many messages are in the document, how many are not,
   *     and whether there is a connection.
   * @returns {HTMLElement} the line; the same one as long as it says the same.
   */
  show(room, how) {
    const state = stateOf(room, how);
    if (this.node?.dataset.state === state) return this.node;
    this.node = element("div", { class: "top", "data-state": state });
    const said =
      state === "more"
        ? element("button", { type: "button", class: "button", onclick: this.#onOlder, text: "Older messages" })
        : element("p", { text: TEXTS[state] });
    this.node.append(said);
    return this.node;
  }
}

function stateOf(room, { shown, hidden, online }) {
  if (room.problem) return "problem";
  if (room.paging) return "paging";
  if (hidden > 0 || (room.more && room.entered)) return "more";
  if (!room.entered) return room.position === null || online ? "entering" : "away";
  return shown ? "beginning" : "empty";
}
