// The keys that walk through the messages. One message at a time can be reached with Tab; the arrow keys choose which.

export class Walk {
  #active = null;

  /** @param {HTMLElement} root what scrolls. @param {() => HTMLElement[]} rows the messages in it, in order. */
  constructor(root, rows) {
    root.addEventListener("keydown", (event) => step(event, rows()));
    root.addEventListener("focusin", (event) => this.#activate(event.target.closest(".row")));
  }

  /** Know that a message is drawn anew. */
  replace(before, after) {
    if (before !== undefined && before === this.#active) this.#active = after;
  }

  /** Begin anew, with other messages. */
  forget() {
    this.#active = null;
  }

  #activate(row) {
    if (row === null) return;
    for (const [one, index] of [[this.#active, "-1"], [row, "0"]]) {
      one?.querySelectorAll(".tool").forEach((tool) => tool.setAttribute("tabindex", index));
    }
    this.#active = row;
  }
}

function step(event, rows) {
  if (event.target.matches("textarea, .wide")) return;
  const at = rows.indexOf(event.target.closest(".row"));
  const to = { ArrowUp: at < 0 ? rows.length - 1 : at - 1, ArrowDown: at + 1, Home: 0, End: rows.length - 1 }[event.key];
  if (to === undefined || rows.length === 0 || (at < 0 && event.key === "ArrowDown")) return;
  event.preventDefault();
  const row = rows[Math.min(Math.max(to, 0), rows.length - 1)];
  row.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}
