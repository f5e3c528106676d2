// Where one writes. What was begun in one room is still there when one comes back to it.

import { byId } from "./dom.js";

export class Composer {
  #form = byId("composer");
  #field = byId("message");
  #drafts = new Map();
  #room = null;

  /**
   * @param {{onSend: (text: string) => void, onType: () => void, onEmpty: () => void, onEditLast: () => void}} heed
   */
  constructor(heed) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.#field.value.trim();
      if (!text) return;
      this.#field.value = "";
      this.#drafts.delete(this.#room);
      heed.onSend(text);
      this.#field.focus();
    });
    this.#field.addEventListener("input", () => (this.#field.value.trim() ? heed.onType() : heed.onEmpty()));
    this.#field.addEventListener("keydown", (event) => {
      // Enter also chooses a word while one writes Chinese or Japanese.
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.#form.requestSubmit();
      } else if (event.key === "ArrowUp" && this.#field.value === "") {
        event.preventDefault();
        heed.onEditLast();
      }
    });
  }

  /** @param {string | null} room where what is written goes. */
  show(room) {
    if (room === this.#room) return;
    if (this.#room !== null) this.#drafts.set(this.#room, this.#field.value);
    this.#room = room;
    this.#field.value = this.#drafts.get(room) ?? "";
    const text = `Write to ${room}`;
    this.#field.setAttribute("aria-label", text);
    this.#field.placeholder = text;
  }

  hide(hidden) {
    this.#form.hidden = hidden;
  }

  focus() {
    this.#field.focus();
  }
}
